import { useEffect, useLayoutEffect, useRef, useState, type HTMLAttributes, type ReactNode } from 'react';

const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize) || 14;

interface Props extends Omit<HTMLAttributes<HTMLDivElement>, 'children'> {
  count: number; rowRem: number; row: (i: number) => ReactNode; onEnd?: (last: number) => void; active?: number; footer?: ReactNode;
}
/** Fixed row height; only what is seen is in the page, so 50,000 rows cost as much as 50. */
export function VirtualList({ count, rowRem, row, onEnd, active, footer, ...rest }: Props) {
  const ref = useRef<HTMLDivElement>(null);
  const [h, setH] = useState(() => rowRem * rem());
  const [view, setView] = useState({ top: 0, height: 600 });
  useLayoutEffect(() => {
    const el = ref.current!;
    const look = () => { setH(Math.round(rowRem * rem())); setView({ top: el.scrollTop, height: el.clientHeight }); };
    look();
    const o = new ResizeObserver(look);
    o.observe(el);
    return () => o.disconnect();
  }, [rowRem]);
  const first = Math.max(0, Math.floor(view.top / h) - 6);
  const last = Math.min(count, Math.ceil((view.top + view.height) / h) + 6);
  useEffect(() => { onEnd?.(last); }, [last, onEnd, count]);
  useEffect(() => {
    const el = ref.current;
    if (active === undefined || active < 0 || !el) return;
    const y = active * h;
    if (y < el.scrollTop) el.scrollTop = y; else if (y + h > el.scrollTop + el.clientHeight) el.scrollTop = y + h - el.clientHeight;
  }, [active, h]);
  const rows: ReactNode[] = [];
  for (let i = first; i < last; i++) rows.push(<div key={i} className="vrow" style={{ top: i * h, height: h }}>{row(i)}</div>);
  return (
    <div {...rest} ref={ref} className={`vlist ${rest.className ?? ''}`} onScroll={(e) => setView({ top: e.currentTarget.scrollTop, height: e.currentTarget.clientHeight })}>
      <div className="vlist-in" style={{ height: count * h }}>{rows}</div>{footer}
    </div>
  );
}
