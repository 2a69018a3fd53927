// The sounds of the own telephone: it rings, the far one rings. Made here, no file is fetched.

let context: AudioContext | null = null;
let timer: ReturnType<typeof setInterval> | undefined;
let playing: 'in' | 'waiting' | 'back' | null = null;

function beep(hertz: number, from: number, seconds: number, loud: number) {
  if (!context) return;
  const tone = context.createOscillator(), gain = context.createGain();
  const at = context.currentTime + from;
  tone.frequency.value = hertz;
  gain.gain.setValueAtTime(0, at); gain.gain.linearRampToValueAtTime(loud, at + 0.02); gain.gain.setValueAtTime(loud, at + seconds - 0.03); gain.gain.linearRampToValueAtTime(0, at + seconds);
  tone.connect(gain).connect(context.destination);
  tone.start(at); tone.stop(at + seconds);
}

const SOUND = {
  /** A call comes in. */
  in: { everyMs: 3_000, make: () => { for (let n = 0; n < 6; n++) beep(n % 2 ? 1_320 : 1_050, n * 0.16, 0.15, 0.16); } },
  /** A call comes in while another one is talked: short and soft. */
  waiting: { everyMs: 5_000, make: () => { beep(880, 0, 0.15, 0.06); beep(880, 0.3, 0.15, 0.06); } },
  /** The far one rings: 450 Hz, 1 s on, 4 s off (YD/T 729). */
  back: { everyMs: 5_000, make: () => beep(450, 0, 1, 0.08) },
} as const;

/** A browser that forbids sound before a click stays silent: the call is seen all the same. */
export function ring(what: keyof typeof SOUND | null) {
  if (what === playing) return;
  playing = what;
  clearInterval(timer);
  if (!what || typeof AudioContext === 'undefined') { void context?.suspend().catch(() => {}); return; }
  try {
    context ??= new AudioContext();
    void context.resume().catch(() => {});
    SOUND[what].make();
    timer = setInterval(() => SOUND[what].make(), SOUND[what].everyMs);
  } catch { /* no sound device */ }
}
