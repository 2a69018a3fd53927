// Two languages, one typed dictionary, switched at once.
import { createStore, useStore } from '../state/store';
import type { Text } from '../api/types';
import { en } from './en';
import { zh, type Key } from './zh';

export type Lang = 'zh' | 'en';
export type { Key };
export type Params = Record<string, string | number>;

const dictionaries: Record<Lang, Record<Key, string>> = { zh, en };

export function firstLanguage(stored: string | null, browser: readonly string[]): Lang {
  if (stored === 'zh' || stored === 'en') return stored;
  return browser[0]?.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

const STORE = 'skybridge.language';
function initial(): Lang {
  if (typeof navigator === 'undefined') return 'en';
  let stored: string | null = null;
  try { stored = localStorage.getItem(STORE); } catch { /* storage forbidden */ }
  return firstLanguage(stored, navigator.languages ?? [navigator.language]);
}

export const language = createStore<Lang>(initial());
export function setLanguage(l: Lang) {
  try { localStorage.setItem(STORE, l); } catch { /* storage forbidden */ }
  language.set(l);
}

export function translate(lang: Lang, key: Key, params?: Params): string {
  const s = dictionaries[lang][key];
  return params ? s.replace(/\{(\w+)\}/g, (whole, name: string) => (name in params ? String(params[name]) : whole)) : s;
}
export const pick = (lang: Lang, text: Text) => (lang === 'zh' ? text.zh || text.en : text.en || text.zh);

export interface Speech { lang: Lang; t: (key: Key, params?: Params) => string; pick: (text: Text) => string }
const speech: Record<Lang, Speech> = {
  zh: { lang: 'zh', t: (k, p) => translate('zh', k, p), pick: (x) => pick('zh', x) },
  en: { lang: 'en', t: (k, p) => translate('en', k, p), pick: (x) => pick('en', x) },
};
export const speak = (l: Lang): Speech => speech[l];
export const useSpeech = (): Speech => speech[useStore(language)];
