// A store of one immutable value, read in React by a selector.
import { useCallback, useSyncExternalStore } from 'react';

export interface Store<T> {
  get: () => T;
  set: (next: T | ((now: T) => T)) => void;
  subscribe: (f: () => void) => () => void;
}

export function createStore<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set: (next) => {
      const v = typeof next === 'function' ? (next as (now: T) => T)(value) : next;
      if (Object.is(v, value)) return;
      value = v;
      for (const f of [...listeners]) f();
    },
    subscribe: (f) => { listeners.add(f); return () => { listeners.delete(f); }; },
  };
}

export function useStore<T>(store: Store<T>): T;
export function useStore<T, U>(store: Store<T>, select: (v: T) => U): U;
export function useStore<T, U>(store: Store<T>, select?: (v: T) => U): T | U {
  const read = useCallback(() => (select ? select(store.get()) : store.get()), [store, select]);
  return useSyncExternalStore(store.subscribe, read);
}
