import { useEffect, useRef, type KeyboardEvent, type MouseEvent, type PointerEvent } from 'react';

const isKey = (e: KeyboardEvent) => e.key === ' ' || e.key === 'Enter';

/** What a button needs that is held: by pointer, by touch, or by Space and Enter while it has the focus. It is let go when the page is left. */
export function useHold<E extends HTMLElement>(begin: () => void, end: () => void) {
  const here = useRef(false);
  const ends = useRef(end);
  ends.current = end;
  const press = () => { here.current = true; begin(); };
  const release = () => { if (here.current) { here.current = false; ends.current(); } };
  useEffect(() => {
    const lost = () => { if (here.current) { here.current = false; ends.current(); } };
    const hidden = () => { if (document.visibilityState === 'hidden') lost(); };
    window.addEventListener('blur', lost); document.addEventListener('visibilitychange', hidden);
    return () => { window.removeEventListener('blur', lost); document.removeEventListener('visibilitychange', hidden); lost(); };
  }, []);
  return {
    onPointerDown: (e: PointerEvent<E>) => { if (e.button !== 0) return; e.preventDefault(); e.stopPropagation(); e.currentTarget.focus(); e.currentTarget.setPointerCapture(e.pointerId); press(); },
    onPointerUp: release, onPointerCancel: release, onLostPointerCapture: release, onBlur: release,
    onClick: (e: MouseEvent<E>) => e.stopPropagation(), onDoubleClick: (e: MouseEvent<E>) => e.stopPropagation(), onContextMenu: (e: MouseEvent<E>) => e.preventDefault(),
    onKeyDown: (e: KeyboardEvent<E>) => { if (isKey(e)) { e.preventDefault(); e.stopPropagation(); if (!e.repeat) press(); } },
    onKeyUp: (e: KeyboardEvent<E>) => { if (isKey(e)) { e.preventDefault(); e.stopPropagation(); release(); } },
  };
}
