import { describe, expect, it, vi } from 'vitest';
import { Backoff } from '../src/media/backoff';
import { levelToBar } from '../src/media/levels';
import { PtzControl, type Move } from '../src/media/ptz';
import { digest } from '../src/media/stats';

describe('back-off', () => {
  it('goes from 0.5 s to 5 s and begins again', () => {
    const b = new Backoff(500, 5000, () => 0);
    expect([b.next(), b.next(), b.next(), b.next(), b.next(), b.next()]).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
    b.reset(); expect(b.next()).toBe(500);
    expect(new Backoff(500, 5000, () => 1).next()).toBe(600);
  });
});

describe('camera movement', () => {
  const flush = async () => { for (let i = 0; i < 8; i++) await Promise.resolve(); };
  it('sends a stop after the move, never before it', async () => {
    const sent: Move[] = [];
    let free: () => void = () => {};
    const c = new PtzControl((m) => { sent.push(m); return sent.length === 1 ? new Promise<void>((r) => { free = r; }) : Promise.resolve(); });
    c.move({ pan: 1, tilt: 0, zoom: 0 }); c.stop();
    expect(sent).toHaveLength(1);
    free(); await flush();
    expect(sent.at(-1)).toEqual({ pan: 0, tilt: 0, zoom: 0 });
  });
  it('repeats while held, stops repeating after', async () => {
    vi.useFakeTimers();
    const send = vi.fn(() => Promise.resolve());
    const c = new PtzControl(send);
    c.move({ pan: 1, tilt: 0, zoom: 0 });
    await vi.advanceTimersByTimeAsync(2000); expect(send).toHaveBeenCalledTimes(3);
    c.stop(); await vi.advanceTimersByTimeAsync(5000); expect(send).toHaveBeenCalledTimes(4);
    vi.useRealTimers();
  });
  it('tries a lost stop again, and gives up a move that fails', async () => {
    let n = 0;
    const c = new PtzControl((m) => (m.pan === 0 && ++n < 3 ? Promise.reject(new Error('x')) : Promise.resolve()));
    c.move({ pan: 1, tilt: 0, zoom: 0 }); await flush(); c.stop(); await flush(); expect(n).toBe(3);
    const d = new PtzControl((m) => (m.pan ? Promise.reject(new Error('x')) : Promise.resolve()));
    d.move({ pan: 1, tilt: 0, zoom: 0 }); await flush(); expect(d.moving).toBe(false);
  });
});

describe('figures', () => {
  const report = (bytes: number, lost: number, packets: number) => [{ type: 'codec', id: 'c', mimeType: 'video/H264' }, { type: 'inbound-rtp', id: 'i', kind: 'video', codecId: 'c', bytesReceived: bytes, packetsReceived: packets, packetsLost: lost, framesDecoded: 5, frameWidth: 1280, frameHeight: 720, framesPerSecond: 25, totalFreezesDuration: 1.5 }];
  it('are digested from two readings', () => {
    const a = digest(report(1000, 0, 10), null, 1000), b = digest(report(126_000, 5, 105), a, 2000);
    expect(b).toMatchObject({ codec: 'H264', width: 1280, bitRate: 1_000_000, lossPercent: 5, frozenMs: 1500 });
  });
  it('map levels to a bar', () => { expect(levelToBar(-127)).toBe(0); expect(levelToBar(0)).toBe(1); expect(levelToBar(-31.5)).toBeCloseTo(0.5); });
});
