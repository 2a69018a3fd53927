import { describe, expect, it } from 'vitest';
import { encode } from 'uqr';
import { ALL, say, type Word } from '../src/guest/words';

const holes = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();

describe('the words of the guests’ page', () => {
  it('are there in both languages, with the same holes', () => {
    for (const [key, [zh, en]] of Object.entries(ALL)) {
      expect(zh.trim(), key).not.toBe(''); expect(en.trim(), key).not.toBe('');
      expect(holes(en), key).toEqual(holes(zh));
      expect(/[\u4e00-\u9fff]/.test(en), key).toBe(false);
    }
  });
  it('are filled in', () => { expect(say('en', 'waiting.for' as Word, { t: '1:05' })).toContain('1:05'); });
});

describe('a link’s QR code', () => {
  it('holds the longest address that may be set, with its quiet zone', () => {
    const { data, size } = encode(`https://${'h'.repeat(192)}/join/${'A'.repeat(43)}`, { ecc: 'M', border: 4 });
    expect(size).toBeLessThan(100);
    expect(data.slice(0, 4).every((row) => row.every((dark) => !dark))).toBe(true);
  });
});
