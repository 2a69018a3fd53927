// What a tile says, and when it says nothing. Pure, tested.
import type { Stream } from '../api/types';
import { pick, translate, type Lang } from '../i18n';
import { duration } from '../ui/format';
import type { WhepState } from '../media/whep';
import type { PlayerView } from './player';

/** Sound that nothing in the gateway decodes; the picture goes on without it. */
const SILENT: Record<string, string> = { G723: 'G.723.1', G7221: 'G.722.1', SVACA: 'SVAC' };
export const silentCodec = (s: Stream | null | undefined) => s?.tracks.map((x) => SILENT[x.codec]).find(Boolean) ?? null;

/** Whether this browser decodes H.265 itself. */
const decodesH265 = () => typeof RTCRtpReceiver !== 'undefined' && !!RTCRtpReceiver.getCapabilities?.('video')?.codecs.some((c) => /h265/i.test(c.mimeType));

/** A source in H.265 with the state of the H.264 made of it, where this browser needs that. */
export function withMade(own: Stream | null, made: Stream | null, native = decodesH265()): Stream | null {
  if (!own || !made || native || !own.tracks.some((x) => x.codec === 'H265') || made.state !== 'failed') return own;
  return { ...own, state: made.state, fault: made.fault };
}

export interface TileFacts {
  source: string | null; sourceName: string; live: string | null; since: string | null;
  stream: Stream | null; view: Pick<PlayerView, 'hasPicture' | 'lastPictureAt'> & { whep: Pick<WhepState, 'phase' | 'error' | 'since'> };
  /** False when the tile cannot be changed from here (viewer, big screen). */
  canTake: boolean; now: number; lang: Lang;
}
export interface TileMessage { kind: 'empty' | 'wait' | 'bad'; text: string; next: string }

const STALE_MS = 2_500;
const PATIENCE_MS = 900; // a good switch is quicker than this: no words flash up
const capital = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);
const sentence = (lang: Lang, s: string) => { const x = s.trim(); return x && !/[.。!！?？]$/.test(x) ? x + (lang === 'zh' ? '。' : '.') : x; };

export function tileMessage(f: TileFacts): TileMessage | null {
  const t = (k: Parameters<typeof translate>[1], p?: Record<string, string | number>) => translate(f.lang, k, p);
  if (!f.source) return { kind: 'empty', text: t('tile.empty'), next: f.canTake ? t('tile.empty.next') : '' };

  const { whep } = f.view;
  const age = f.view.hasPicture && f.view.lastPictureAt ? Math.max(0, f.now - f.view.lastPictureAt) : null;
  const aged = (why: string) => {
    const words = sentence(f.lang, why);
    return age === null || age < 1_500 ? capital(words) : `${t('tile.noVideoFor', { age: duration(Math.max(1, Math.round(age / 1000)), f.lang) })}${words}`;
  };

  if (whep.phase === 'waiting' || whep.phase === 'off' || (whep.phase === 'connecting' && (age === null || age > STALE_MS))) {
    if (whep.phase === 'connecting' && !whep.error && f.now - whep.since < PATIENCE_MS) return null;
    if (whep.phase === 'off' && age !== null && age < STALE_MS) return null;
    const why = whep.error ? pick(f.lang, whep.error) : whep.phase === 'connecting' && age === null ? t('tile.connecting') : t('tile.legLost');
    return { kind: whep.error ? 'bad' : 'wait', text: aged(why), next: t('tile.again') };
  }

  const s = f.stream;
  const bad = s && (s.state === 'stalled' || s.state === 'failed');
  if (bad && s.fault) {
    const next = f.lang === 'zh' ? s.fault.next_zh : s.fault.next_en;
    return { kind: 'bad', text: f.source === f.live || f.live === null ? aged(pick(f.lang, s.fault)) : sentence(f.lang, `${f.sourceName}${f.lang === 'zh' ? '：' : ': '}${pick(f.lang, s.fault)}`), next: next ?? '' };
  }
  if (f.source !== f.live) {
    const waited = f.since ? f.now - Date.parse(f.since) : PATIENCE_MS;
    if (waited < PATIENCE_MS) return null;
    return { kind: 'wait', text: t('tile.switching', { name: f.sourceName, age: duration(Math.max(1, Math.round(waited / 1000)), f.lang) }), next: '' };
  }
  if (bad) return { kind: 'bad', text: aged(t(s.state === 'failed' ? 'tile.failed' : 'tile.stalled')), next: '' };
  if (age === null) {
    if (f.now - whep.since < PATIENCE_MS) return null;
    return { kind: 'wait', text: t('tile.firstPicture', { age: duration(Math.max(1, Math.round((f.now - whep.since) / 1000)), f.lang) }), next: '' };
  }
  if (age > STALE_MS) return { kind: 'bad', text: aged(t('tile.noFrames')), next: '' };
  return null;
}
