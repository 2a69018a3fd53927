// The guest's own camera and microphone, from the preview on.
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import type { Word } from './words';

const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const VIDEO: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 25, max: 30 } };

export interface Local { stream: MediaStream | null; problem: Word | null; open: (camera: boolean) => Promise<MediaStream | null>; close: () => void }

function why(e: unknown): Word {
  const name = e instanceof DOMException ? e.name : '';
  if (!window.isSecureContext) return 'insecure';
  return name === 'NotAllowedError' ? 'denied' : name === 'NotFoundError' || name === 'OverconstrainedError' ? 'none' : 'busy';
}

export function useLocal(): Local {
  const [stream, set] = useState<MediaStream | null>(null);
  const [problem, setProblem] = useState<Word | null>(null);
  const now = useRef<MediaStream | null>(null);
  const take = useCallback((s: MediaStream | null) => { for (const x of now.current?.getTracks() ?? []) x.stop(); now.current = s; set(s); }, []);
  const close = useCallback(() => take(null), [take]);
  const open = useCallback(async (camera: boolean) => {
    setProblem(null);
    if (!navigator.mediaDevices?.getUserMedia) { setProblem('insecure'); return null; }
    const get = (video: MediaTrackConstraints | false) => navigator.mediaDevices.getUserMedia({ audio: AUDIO, video });
    try { const s = await get(camera && VIDEO); take(s); return s; } catch (e) {
      if (!camera) { setProblem(why(e)); return null; }
      try { const s = await get(false); take(s); setProblem('noCamera'); return s; } catch (e2) { setProblem(why(e2)); return null; }
    }
  }, [take]);
  useEffect(() => () => { for (const x of now.current?.getTracks() ?? []) x.stop(); }, []);
  return useMemo(() => ({ stream, problem, open, close }), [stream, problem, open, close]);
}
