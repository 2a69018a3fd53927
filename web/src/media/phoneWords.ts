// What went wrong with a call of the own telephone, in words. Pure, tested.
import type { Text } from '../api/types';

/** The stable words that the gateway puts into `Reason` (RFC 3326). */
const BY_WORD: Record<string, Text> = {
  busy: { zh: '对方忙', en: 'Busy' },
  declined: { zh: '对方拒接', en: 'Declined' },
  no_answer: { zh: '无人接听', en: 'No answer' },
  not_registered: { zh: '对方话机未注册', en: 'The phone is not registered' },
  unreachable: { zh: '对方话机无法联系', en: 'The phone cannot be reached' },
  unknown_number: { zh: '没有这个号码，请检查后重拨', en: 'There is no such number; check it and dial again' },
  no_codec: { zh: '双方没有共同的语音编码', en: 'The two phones have no codec in common' },
  transcode_limit: { zh: '双方没有共同的语音编码，转码通话已达上限', en: 'No codec in common, and too many calls are transcoded already' },
  call_limit: { zh: '同时通话数已达上限', en: 'There are too many calls at once' },
  no_media_port: { zh: '网关媒体端口用尽，请稍后再拨', en: 'The gateway has no media port left; dial again later' },
  shutting_down: { zh: '网关正在停止', en: 'The gateway is stopping' },
};
export function refusedWords(code: number, reason: string | undefined): Text {
  const word = /text="([a-z_]+)"/.exec(reason ?? '')?.[1];
  const known = word ? BY_WORD[word] : undefined;
  if (known) return known;
  switch (code) {
    case 486: case 600: return BY_WORD.busy!;
    case 603: return BY_WORD.declined!;
    case 403: return { zh: '不允许呼叫这个号码', en: 'This number may not be called' };
    case 404: case 484: case 604: return BY_WORD.unknown_number!;
    case 408: case 480: return BY_WORD.no_answer!;
    case 487: return { zh: '呼叫已取消', en: 'The call was cancelled' };
    case 488: case 606: return BY_WORD.no_codec!;
    case 503: return { zh: '网关忙，请稍后再拨', en: 'The gateway is busy; dial again in a moment' };
    default: return { zh: `呼叫失败（SIP ${code}）`, en: `The call failed (SIP ${code})` };
  }
}
export function transferWords(code: number, number: string): Text {
  if (code === 501) return { zh: '网关不支持咨询转接，请用直接转接', en: 'Consultative transfer is not supported here; transfer directly' };
  const why = refusedWords(code, undefined);
  return { zh: `没有转接到 ${number}：${why.zh}。通话仍在`, en: `Not transferred to ${number}: ${why.en}. The call goes on` };
}
/** Why there is no microphone; none where it was something else. */
export function microphoneWords(e: unknown): Text | null {
  const name = e instanceof Error ? e.name : '';
  if (name === 'NotAllowedError' || name === 'SecurityError') return { zh: '浏览器没有得到话筒的许可。请在地址栏里允许话筒后重拨', en: 'The browser may not use the microphone. Allow it in the address bar and call again' };
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return { zh: '这台电脑没有可用的话筒。请接好后重拨', en: 'This computer has no microphone. Connect one and call again' };
  if (name === 'NotReadableError' || name === 'AbortError') return { zh: '话筒被别的程序占用。请关闭后重拨', en: 'Another program uses the microphone. Close it and call again' };
  return null;
}
