// The wall's keys, as a pure step so that they can be tested: a key and what is, to what is done.
export interface KeyState { tile: number | null; layout: 1 | 4 | 9; full: number | null; sound: number | null; hasChannel: boolean; canTake: boolean }
export type KeyDeed =
  | { do: 'select'; tile: number | null } | { do: 'full'; tile: number | null } | { do: 'sound'; tile: number | null }
  | { do: 'clear'; tile: number } | { do: 'undo' } | { do: 'record' } | { do: 'help' } | { do: 'search' } | { do: 'take'; tile: number };

export function wallKey(key: string, ctrl: boolean, s: KeyState): KeyDeed | null {
  const side = Math.sqrt(s.layout);
  if (ctrl) return key.toLowerCase() === 'z' && s.canTake ? { do: 'undo' } : null;
  if (/^[1-9]$/.test(key)) { const n = Number(key) - 1; return n < s.layout ? { do: 'select', tile: n } : null; }
  const at = s.tile ?? 0;
  switch (key) {
    case 'ArrowRight': return { do: 'select', tile: s.tile === null ? 0 : at % side === side - 1 ? at : at + 1 };
    case 'ArrowLeft': return { do: 'select', tile: s.tile === null ? 0 : at % side === 0 ? at : at - 1 };
    case 'ArrowDown': return { do: 'select', tile: s.tile === null ? 0 : at + side < s.layout ? at + side : at };
    case 'ArrowUp': return { do: 'select', tile: s.tile === null ? 0 : at - side >= 0 ? at - side : at };
    case 'Enter': return s.tile !== null && s.hasChannel && s.canTake ? { do: 'take', tile: s.tile } : null;
    case 'f': case 'F': return s.full !== null ? { do: 'full', tile: null } : s.tile !== null ? { do: 'full', tile: s.tile } : null;
    case 'm': case 'M': return s.tile === null ? (s.sound !== null ? { do: 'sound', tile: null } : null) : { do: 'sound', tile: s.sound === s.tile ? null : s.tile };
    case 'Escape': return s.full !== null ? { do: 'full', tile: null } : s.tile !== null ? { do: 'select', tile: null } : null;
    case 'Delete': case 'Backspace': return s.tile !== null && s.canTake ? { do: 'clear', tile: s.tile } : null;
    case 'u': case 'U': return s.canTake ? { do: 'undo' } : null;
    case 'r': case 'R': return s.canTake ? { do: 'record' } : null;
    case '/': return { do: 'search' };
    case '?': return { do: 'help' };
    default: return null;
  }
}

/** Keys belong to the field that has the focus, not to the wall. Tree, camera pad and time line keep theirs by stopping the event. */
export function typing(e: KeyboardEvent): boolean {
  const el = e.target as HTMLElement | null;
  return !!el && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName) || !!el.closest('dialog'));
}
