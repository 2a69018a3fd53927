// The few numbers of getStats that an operator can use.
export interface ViewStats {
  at: number; codec: string; audioCodec: string; width: number; height: number; fps: number; bitRate: number; bytes: number; packets: number;
  lost: number; lossPercent: number; framesDecoded: number; frozenMs: number; jitterMs: number; rttMs: number | null;
}

type Report = Record<string, unknown> & { type: string; id: string };
const num = (v: unknown) => (typeof v === 'number' && Number.isFinite(v) ? v : 0);

export function digest(reports: Iterable<Report>, before: ViewStats | null, now: number): ViewStats {
  const s: ViewStats = { at: now, codec: '', audioCodec: '', width: 0, height: 0, fps: 0, bitRate: 0, bytes: 0, packets: 0, lost: 0, lossPercent: 0, framesDecoded: 0, frozenMs: 0, jitterMs: 0, rttMs: null };
  const codecs = new Map<string, string>();
  const list = [...reports];
  for (const r of list) if (r.type === 'codec') codecs.set(r.id, String(r['mimeType'] ?? '').split('/')[1] ?? '');
  for (const r of list) {
    if (r.type === 'inbound-rtp') {
      s.bytes += num(r['bytesReceived']); s.packets += num(r['packetsReceived']); s.lost += Math.max(0, num(r['packetsLost']));
      const codec = codecs.get(String(r['codecId'] ?? '')) ?? '';
      if (r['kind'] === 'video') {
        s.codec = codec; s.width = num(r['frameWidth']); s.height = num(r['frameHeight']); s.fps = num(r['framesPerSecond']);
        s.framesDecoded = num(r['framesDecoded']); s.frozenMs = Math.round(num(r['totalFreezesDuration']) * 1000); s.jitterMs = Math.round(num(r['jitter']) * 1000);
      } else s.audioCodec = codec;
    } else if (r.type === 'candidate-pair' && r['nominated'] === true && r['state'] === 'succeeded') {
      const rtt = r['currentRoundTripTime'];
      if (typeof rtt === 'number') s.rttMs = Math.round(rtt * 1000);
    }
  }
  if (before && now > before.at && s.bytes >= before.bytes) {
    s.bitRate = Math.round(((s.bytes - before.bytes) * 8000) / (now - before.at));
    const lost = Math.max(0, s.lost - before.lost);
    const got = Math.max(0, s.packets - before.packets);
    s.lossPercent = lost + got > 0 ? (100 * lost) / (lost + got) : 0;
  }
  return s;
}

export async function readStats(pc: RTCPeerConnection, before: ViewStats | null): Promise<ViewStats> {
  const reports: Report[] = [];
  try { (await pc.getStats()).forEach((r) => reports.push(r as Report)); } catch { /* closed meanwhile */ }
  return digest(reports, before, performance.now());
}
