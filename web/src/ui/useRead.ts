import { useCallback, useEffect, useRef, useState } from 'react';
import { asApiError, type ApiError } from '../api/client';
import { epoch } from '../state/live';
import { useStore } from '../state/store';

/** Reads once, again after each reconnection and on `again`. */
export function useRead<T>(read: () => Promise<T>, deps: readonly unknown[]) {
  const [value, set] = useState<T | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const mark = useStore(epoch);
  const f = useRef(read);
  f.current = read;
  const run = useRef(0);
  const again = useCallback(async () => {
    const mine = ++run.current;
    try { const v = await f.current(); if (mine === run.current) { set(v); setError(null); } } catch (e) { if (mine === run.current) setError(asApiError(e)); }
  }, []);
  // eslint-disable-next-line react-hooks/exhaustive-deps
  useEffect(() => { void again(); return () => { run.current++; }; }, [...deps, mark, again]);
  return { value, error, again, set };
}
