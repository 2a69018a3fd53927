import { type ReactNode } from 'react';
import { Empty } from './basic';

export interface Column<T> { key: string; title: string; cell: (x: T) => ReactNode; num?: boolean; width?: string; wrap?: boolean }
/** A plain table for lists of tens to hundreds. Long lists of devices use VirtualList. */
export function Table<T>({ columns, rows, id, empty, next, testId }: { columns: Column<T>[]; rows: readonly T[] | null; id: (x: T) => string; empty: string; next?: string; testId?: string }) {
  if (rows && rows.length === 0) return <Empty title={empty} next={next} />;
  return (
    <div className="table-box"><table className="table" data-testid={testId}>
      <thead><tr>{columns.map((c) => <th key={c.key} scope="col" style={c.width ? { width: c.width } : undefined} className={c.num ? 'num' : ''}>{c.title}</th>)}</tr></thead>
      <tbody>{(rows ?? []).map((r) => <tr key={id(r)} data-row={id(r)}>{columns.map((c) => <td key={c.key} className={`${c.num ? 'num' : ''} ${c.wrap ? 'wrap' : ''}`}>{c.cell(r)}</td>)}</tr>)}</tbody>
    </table></div>
  );
}
