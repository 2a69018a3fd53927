// One <video> that plays recordings: HLS first (hls.js loaded only here), the file itself where HLS fails.
import { useCallback, useEffect, useRef, useState } from 'react';
import { api } from '../../api/client';
import type { Recording } from '../../api/types';
import type Hls from 'hls.js';

export type ReplayTrouble = 'load' | 'decode' | null;
export interface Replay { recording: Recording | null; offset: number; playing: boolean; rate: number; trouble: ReplayTrouble; loading: boolean }

export function useReplay(video: React.RefObject<HTMLVideoElement | null>, onEnded: (r: Recording) => void) {
  const [s, set] = useState<Replay>({ recording: null, offset: 0, playing: false, rate: 1, trouble: null, loading: false });
  const hls = useRef<Hls | null>(null);
  const current = useRef<Recording | null>(null);
  const rate = useRef(1);
  const ended = useRef(onEnded);
  ended.current = onEnded;
  const wanted = useRef(0); // seek asked before the media knew its length

  useEffect(() => {
    const v = video.current;
    if (!v) return;
    const up = (p: Partial<Replay>) => set((x) => ({ ...x, ...p }));
    const on: Record<string, () => void> = {
      timeupdate: () => up({ offset: v.currentTime }), seeking: () => up({ offset: v.currentTime }), play: () => up({ playing: true }), pause: () => up({ playing: false }),
      waiting: () => up({ loading: true }), playing: () => up({ loading: false, trouble: null }), canplay: () => up({ loading: false }),
      loadedmetadata: () => { if (wanted.current > 0) { v.currentTime = wanted.current; wanted.current = 0; } v.playbackRate = rate.current; },
      ended: () => { if (current.current) ended.current(current.current); },
      error: () => { if (current.current && v.getAttribute('src') && !hls.current) up({ trouble: 'decode', loading: false }); },
    };
    for (const [k, f] of Object.entries(on)) v.addEventListener(k, f);
    return () => { for (const [k, f] of Object.entries(on)) v.removeEventListener(k, f); hls.current?.destroy(); hls.current = null; current.current = null; };
  }, [video]);

  const file = useCallback((r: Recording, play: boolean) => {
    const v = video.current;
    hls.current?.destroy(); hls.current = null;
    if (!v || current.current?.id !== r.id) return;
    wanted.current = v.currentTime || wanted.current;
    v.src = api.mp4Url(r.id);
    if (play) void v.play().catch(() => {});
  }, [video]);

  /** Plays this recording from `offset` seconds after its beginning. */
  const open = useCallback(async (r: Recording, offset: number, play = true) => {
    const v = video.current;
    if (!v) return;
    if (current.current?.id === r.id) { v.currentTime = offset; if (play) void v.play().catch(() => {}); return; }
    current.current = r;
    wanted.current = offset;
    set((x) => ({ ...x, recording: r, offset, trouble: null, loading: true }));
    hls.current?.destroy(); hls.current = null;
    v.removeAttribute('src');
    const { default: H } = await import('hls.js/light');
    if (current.current?.id !== r.id) return;
    if (!H.isSupported()) { file(r, play); return; }
    // No worker: fragmented MP4 needs no remuxing, and the page's policy can forbid blob workers.
    const h = new H({ enableWorker: false, startPosition: offset, maxBufferLength: 20, backBufferLength: 30 });
    hls.current = h;
    h.on(H.Events.ERROR, (_e, d) => { if (d.fatal) file(r, play); });
    h.on(H.Events.MANIFEST_PARSED, () => { v.playbackRate = rate.current; if (play) void v.play().catch(() => {}); });
    h.loadSource(api.hlsUrl(r.id));
    h.attachMedia(v);
  }, [file, video]);

  const toggle = useCallback(() => { const v = video.current; if (v && current.current) { if (v.paused) void v.play().catch(() => {}); else v.pause(); } }, [video]);
  const setRate = useCallback((n: number) => { rate.current = n; if (video.current) video.current.playbackRate = n; set((x) => ({ ...x, rate: n })); }, [video]);
  const step = useCallback((by: number) => { const v = video.current; if (v && current.current) v.currentTime = Math.max(0, v.currentTime + by); }, [video]);
  const close = useCallback(() => { current.current = null; hls.current?.destroy(); hls.current = null; video.current?.pause(); video.current?.removeAttribute('src'); video.current?.load(); set((x) => ({ ...x, recording: null, offset: 0, playing: false, trouble: null, loading: false })); }, [video]);
  return { ...s, open, toggle, setRate, step, close };
}
