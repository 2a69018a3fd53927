// Fetching a device's recordings into the archive: the range, and the list of fetches with their progress.
import { useCallback, useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Fetch } from '../../api/types';
import { useSpeech } from '../../i18n';
import { epoch, onEvent } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, Field } from '../../ui/basic';
import { bytes, clock, day as dayText, duration } from '../../ui/format';
import { fromInput, toInput } from './devrec';
import type { Span } from './timeline';

export function FetchForm({ stream, range, onDone }: { stream: string; range: Span; onDone: () => void }) {
  const { t } = useSpeech();
  const [from, setFrom] = useState(toInput(range.from));
  const [to, setTo] = useState(toInput(range.to));
  const [busy, setBusy] = useState(false);
  useEffect(() => { setFrom(toInput(range.from)); setTo(toInput(range.to)); }, [range.from, range.to]);
  const good = fromInput(to) > fromInput(from);
  const go = async () => {
    setBusy(true);
    const made = await act(() => api.fetchDevice(stream, new Date(fromInput(from)).toISOString(), new Date(fromInput(to)).toISOString()));
    setBusy(false);
    if (made) onDone();
  };
  return (
    <form className="devrec-form pad" data-testid="fetch-form" onSubmit={(e) => { e.preventDefault(); if (good) void go(); }}>
      <Field label={t('devrec.fetch.from')}><input type="datetime-local" step={1} value={from} data-testid="fetch-from" onChange={(e) => setFrom(e.target.value)} /></Field>
      <Field label={t('devrec.fetch.to')}><input type="datetime-local" step={1} value={to} data-testid="fetch-to" onChange={(e) => setTo(e.target.value)} /></Field>
      <p className="hint">{t('devrec.fetch.hint')}</p>
      <Button look="main" icon="download" testId="fetch-start" type="submit" disabled={!good || busy}>{t('devrec.fetch.start')}</Button>
    </form>
  );
}

export function FetchList() {
  const { t, pick, lang } = useSpeech();
  const [list, setList] = useState<Fetch[]>([]);
  const mark = useStore(epoch);
  const may = useStore(session, isOperator);
  const read = useCallback(() => { api.fetches().then((r) => setList(r.items), () => {}); }, []);
  useEffect(read, [read, mark]);
  useEffect(() => onEvent((e) => {
    if (e.type === 'device_fetch') setList((l) => (l.some((x) => x.id === e.fetch.id) ? l.map((x) => (x.id === e.fetch.id ? e.fetch : x)) : [e.fetch, ...l]));
    else if (e.type === 'device_fetch_removed') setList((l) => l.filter((x) => x.id !== e.id));
  }), []);
  if (list.length === 0) return null;
  return (
    <section className="devrec-fetches" data-testid="fetches">
      <div className="side-head"><h2>{t('devrec.fetches')}</h2></div>
      <ul>{list.map((f) => {
        const share = f.total_s > 0 ? Math.min(1, f.done_s / f.total_s) : 0;
        const over = f.state === 'done' || f.state === 'failed';
        return (
          <li key={f.id} data-testid={`fetch-${f.id}`} data-state={f.state}>
            <div className="devrec-fetch">
              <b>{f.name || f.channel}</b>
              <span className="num">{dayText(f.from)} {clock(f.from)} – {clock(f.to)}</span>
              <progress max={1} value={share} aria-label={t('devrec.fetches')} />
              <span className="num">{t(`devrec.state.${f.state}`)} · {duration(f.done_s, lang)} / {duration(f.total_s, lang)}{f.announced_bytes ? ` · ${bytes(f.bytes)} / ${bytes(f.announced_bytes)}` : f.bytes ? ` · ${bytes(f.bytes)}` : ''}{f.breaks ? ` · ${t('devrec.breaks', { n: f.breaks })}` : ''}</span>
              {f.fault && <span className="warn-text" data-testid="fetch-fault" data-code={f.fault.code}>{pick(f.fault)}</span>}
            </div>
            {may && f.state === 'failed' && <Button look="quiet" icon="refresh" title={t('again')} aria-label={t('again')} onClick={() => void act(() => api.retryFetch(f.id))} />}
            {may && <Button look="quiet" icon={over ? 'trash' : 'close'} title={t(over ? 'devrec.forget' : 'cancel')} aria-label={t(over ? 'devrec.forget' : 'cancel')} onClick={() => void act(() => api.forgetFetch(f.id))} />}
          </li>
        );
      })}</ul>
    </section>
  );
}
