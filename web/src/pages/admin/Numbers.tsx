import { useId, useState } from 'react';
import { useSpeech } from '../../i18n';
import { Button, Field } from '../../ui/basic';
import { dialable } from '../calls/words';

/** A list of numbers of phone accounts in their order, added by typing or choosing. */
export function Numbers({ label, value, phones, onChange, testId }: { label: string; value: readonly string[]; phones: readonly { user: string; name: string }[]; onChange: (v: string[]) => void; testId: string }) {
  const { t } = useSpeech();
  const [typed, setTyped] = useState('');
  const list = useId();
  const nameOf = (n: string) => phones.find((p) => p.user === n)?.name ?? '';
  const add = (n: string) => { const d = dialable(n); if (d && !value.includes(d)) onChange([...value, d]); setTyped(''); };
  const move = (i: number, by: number) => { const v = [...value]; const [x] = v.splice(i, 1); v.splice(i + by, 0, x!); onChange(v); };
  return (
    <Field label={label}>
      <ol className="numbers-list" data-testid={testId}>{value.map((n, i) => <li key={n}><b className="num">{n}</b><span>{nameOf(n)}</span><span className="row-tools">
        <Button look="quiet" icon="up" disabled={i === 0} aria-label={t('move.up', { n })} title={t('move.up', { n })} onClick={() => move(i, -1)} /><Button look="quiet" icon="down" disabled={i === value.length - 1} aria-label={t('move.down', { n })} title={t('move.down', { n })} onClick={() => move(i, 1)} />
        <Button look="quiet" icon="close" aria-label={t('remove.n', { n })} title={t('remove.n', { n })} onClick={() => onChange(value.filter((x) => x !== n))} /></span></li>)}</ol>
      <span className="dial"><input className="num" list={list} value={typed} placeholder={t('numbers.add')} aria-label={t('numbers.add')} data-testid={`${testId}-add`} onChange={(e) => setTyped(e.target.value)} onKeyDown={(e) => { if (e.key === 'Enter') { e.preventDefault(); add(typed); } }} />
        <Button icon="plus" testId={`${testId}-add-do`} disabled={!dialable(typed)} onClick={() => add(typed)}>{t('add')}</Button></span>
      <datalist id={list}>{phones.filter((p) => !value.includes(p.user)).map((p) => <option key={p.user} value={p.user}>{p.name}</option>)}</datalist>
    </Field>
  );
}
