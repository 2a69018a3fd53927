// A device's own recordings for the day shown: asked on demand, played as a stream of its own, kept alive while this page shows it.
import { useCallback, useEffect, useRef, useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import type { DeviceRecording, Playback } from '../../api/types';
import { onEvent } from '../../state/live';
import { act } from '../../ui/basic';
import type { Span } from './timeline';

const KEEP_MS = 8_000; // the gateway lets a playback go after 30 s without its owner
export interface Lane { phase: 'none' | 'asking' | 'there' | 'failed'; items: DeviceRecording[]; complete: boolean; error: ApiError | null }
const NONE: Lane = { phase: 'none', items: [], complete: true, error: null };

export function useDevRec(stream: string | null, span: Span) {
  const [lane, setLane] = useState<Lane>(NONE);
  const [playback, setPlayback] = useState<Playback | null>(null);
  const [opening, setOpening] = useState(false);
  const current = useRef<Playback | null>(null);
  const run = useRef(0);
  current.current = playback;

  const close = useCallback(() => {
    const p = current.current;
    current.current = null;
    setPlayback(null);
    if (p) api.endPlayback(p.id, true).catch(() => {});
  }, []);
  useEffect(() => { run.current++; setLane(NONE); return close; }, [stream, span, close]);
  useEffect(() => {
    window.addEventListener('pagehide', close);
    return () => window.removeEventListener('pagehide', close);
  }, [close]);

  const ask = useCallback(async (fresh = false) => {
    if (!stream) return;
    const mine = ++run.current;
    setLane((l) => ({ ...l, phase: 'asking', error: null }));
    try {
      const r = await api.deviceRecordings(stream, new Date(span.from).toISOString(), new Date(span.to).toISOString(), fresh);
      if (mine === run.current) setLane({ phase: 'there', items: r.items, complete: r.complete, error: null });
    } catch (e) {
      if (mine === run.current) setLane({ ...NONE, phase: 'failed', error: asApiError(e) });
    }
  }, [stream, span]);

  useEffect(() => onEvent((e) => {
    const p = current.current;
    if (!p) return;
    if (e.type === 'device_playback' && e.playback.id === p.id) setPlayback(e.playback);
    else if (e.type === 'device_playback_ended' && e.id === p.id) { current.current = null; setPlayback(null); }
  }), []);
  const id = playback?.id;
  useEffect(() => {
    if (!id) return;
    const t = setInterval(() => { api.controlPlayback(id, { action: 'keep' }).catch(() => {}); }, KEEP_MS);
    return () => clearInterval(t);
  }, [id]);

  const order = useCallback(async (o: { action: string; to?: string; speed?: number }) => {
    const p = current.current;
    if (!p) return;
    const now = await act(() => api.controlPlayback(p.id, o));
    if (now && current.current?.id === now.id) setPlayback(now);
  }, []);
  /** Plays from this moment: within the playback that runs where it holds the moment, else with a new one. */
  const play = useCallback(async (at: number) => {
    if (!stream) return;
    const p = current.current;
    if (p && p.channel === stream && at >= Date.parse(p.from) && at < Date.parse(p.to)) { await order({ action: 'seek', to: new Date(at).toISOString() }); return; }
    close();
    setOpening(true);
    const opened = await act(() => api.playDevice(stream, new Date(at).toISOString()));
    setOpening(false);
    if (opened) { current.current = opened; setPlayback(opened); }
  }, [stream, order, close]);

  return { lane, ask, playback, opening, play, order, close };
}
