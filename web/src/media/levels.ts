// Levels: dBov to a bar, and the level of the own microphone.

/** -60 dBov and below is empty, -3 and above is full. */
export function levelToBar(dbov: number): number {
  if (!Number.isFinite(dbov)) return 0;
  return Math.min(1, Math.max(0, (dbov + 60) / 57));
}

/** Calls back about 15 times a second with dBov of the stream's sound. Returns the stop. */
export function meter(stream: MediaStream, f: (dbov: number) => void): () => void {
  if (stream.getAudioTracks().length === 0 || typeof AudioContext === 'undefined') return () => {};
  const ctx = new AudioContext();
  const source = ctx.createMediaStreamSource(stream);
  const analyser = ctx.createAnalyser();
  analyser.fftSize = 1024;
  source.connect(analyser);
  const buf = new Float32Array(analyser.fftSize);
  const t = setInterval(() => {
    analyser.getFloatTimeDomainData(buf);
    let sum = 0;
    for (const v of buf) sum += v * v;
    const rms = Math.sqrt(sum / buf.length);
    f(rms > 0 ? Math.max(-127, 20 * Math.log10(rms)) : -127);
  }, 66);
  return () => { clearInterval(t); source.disconnect(); void ctx.close(); };
}
