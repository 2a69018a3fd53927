import { describe, expect, it } from 'vitest';
import { firstLanguage, pick, translate } from '../src/i18n';
import { en } from '../src/i18n/en';
import { pages, zh, type Key } from '../src/i18n/zh';

const holes = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();
describe('the dictionary', () => {
  it('has the same keys in both languages', () => { expect(Object.keys(en).sort()).toEqual(Object.keys(zh).sort()); });
  it('has each key on one page only', () => {
    expect(Object.values(pages).flatMap((page) => Object.keys(page)).sort()).toEqual(Object.keys(zh).sort());
  });
  it('leaves nothing empty and keeps the same holes', () => {
    for (const k of Object.keys(zh) as Key[]) {
      expect(zh[k].trim(), k).not.toBe(''); expect(en[k].trim(), k).not.toBe('');
      expect(holes(en[k]), k).toEqual(holes(zh[k]));
    }
  });
  it('has no Chinese in the English words', () => { for (const [k, v] of Object.entries(en)) expect(/[\u4e00-\u9fff]/.test(v), k).toBe(false); });
  it('fills in, and falls back when one side is empty', () => {
    expect(translate('en', 'conn.lost', { d: '4 s' })).toContain('4 s');
    expect(pick('en', { zh: '断', en: '' })).toBe('断');
  });
  it('takes the stored language, then the browser’s', () => {
    expect(firstLanguage('en', ['zh-CN'])).toBe('en'); expect(firstLanguage(null, ['zh-TW', 'en'])).toBe('zh'); expect(firstLanguage('xx', ['fr'])).toBe('en');
  });
});
