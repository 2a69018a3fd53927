// What a guest reads. A dictionary of its own: the guests' page holds nothing of the console.
const words = {
  invited: ['您受邀参加', 'You are invited to'],
  name: ['您的姓名', 'Your name'],
  'name.hint': ['会中的人会看到', 'Shown to those in the conference'],
  camera: ['打开摄像头', 'Camera on'],
  'camera.no': ['本链接只用声音', 'This link is for sound only'],
  listener: ['您以听众身份参加：可以听、看、举手和写字。', 'You take part as a listener: you hear, see, write, and may raise a hand.'],
  preview: ['试听试看', 'Try camera and microphone'],
  join: ['请求加入', 'Ask to join'],
  rejoin: ['重新加入', 'Join again'],
  waiting: ['请稍候，主持人会让您加入', 'Please wait: the host will let you in'],
  'waiting.for': ['已等待 {t}', 'Waiting for {t}'],
  leave: ['离开', 'Leave'],
  mute: ['静音', 'Mute'],
  unmute: ['取消静音', 'Unmute'],
  muted: ['您已静音', 'You are muted'],
  'muted.operator': ['主持人已将您静音，可以举手', 'The host muted you; raise a hand to speak'],
  hand: ['举手', 'Raise hand'],
  'hand.down': ['放下手', 'Lower hand'],
  talk: ['按住讲话', 'Hold to talk'],
  'talk.own': ['请讲', 'Talk now'],
  'talk.queued': ['排队中', 'Queued'],
  'talk.taken': ['有人在讲话', 'Somebody is talking'],
  texts: ['文字', 'Texts'],
  'texts.none': ['还没有文字', 'No texts yet'],
  write: ['写点什么…', 'Write something…'],
  send: ['发送', 'Send'],
  file: ['文件：{n}', 'File: {n}'],
  'picture.none': ['现在没有画面', 'No picture now'],
  connecting: ['正在接通…', 'Connecting…'],
  lost: ['连接断开，正在重连…', 'Connection lost; coming back…'],
  connected: ['已接通', 'Connected'],
  offline: ['连不上，正在重试…', 'Not reachable; trying again…'],
  refused: ['主持人没有让您加入', 'The host did not let you in'],
  late: ['等候时间太长，请再试一次', 'Nobody let you in for too long; try again'],
  full: ['等候的人已满，请稍后再试', 'Too many are waiting; try again later'],
  locked: ['会议已锁定，请联系邀请人', 'The conference is locked; ask whoever invited you'],
  removed: ['主持人已请您离开', 'The host has sent you out'],
  over: ['会议已结束，或邀请已撤回', 'The conference is over, or the invitation was withdrawn'],
  left: ['您已离开', 'You have left'],
  again: ['再试一次', 'Try again'],
  level: ['话筒电平', 'Microphone level'],
  insecure: ['浏览器只在 https 下允许使用话筒和摄像头', 'Browsers allow microphone and camera over https only'],
  denied: ['没有得到话筒或摄像头的许可，请在地址栏里允许后重试', 'Microphone or camera is not permitted: allow it in the address bar and try again'],
  none: ['没有可用的话筒', 'There is no microphone'],
  busy: ['话筒或摄像头被别的程序占用', 'Another program holds the microphone or camera'],
  noCamera: ['没有可用的摄像头，将只带声音加入', 'No camera can be used; you join with sound'],
} as const;

export type Word = keyof typeof words;
export type Lang = 'zh' | 'en';
export const say = (lang: Lang, word: Word, values: Record<string, string> = {}) => words[word][lang === 'zh' ? 0 : 1].replace(/\{(\w+)\}/g, (all, k: string) => values[k] ?? all);
export const ALL = words;

const KEY = 'skybridge.language';
export function firstLang(): Lang {
  try { const kept = localStorage.getItem(KEY); if (kept === 'zh' || kept === 'en') return kept; } catch { /* storage forbidden */ }
  return (navigator.languages?.[0] ?? navigator.language).toLowerCase().startsWith('zh') ? 'zh' : 'en';
}
export function keepLang(l: Lang) { try { localStorage.setItem(KEY, l); } catch { /* storage forbidden */ } }
