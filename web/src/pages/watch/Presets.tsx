import { useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import { orderTo, type Answers, type Order } from '../../api/control';
import { useSpeech } from '../../i18n';
import { act, Button, confirmOrder, ErrorLine } from '../../ui/basic';
import { Icon } from '../../ui/Icon';

/** Presets by name, cruise, home position, wiper. Asked of the camera when it is opened: each question costs it an answer. */
export function Presets({ channel }: { channel: string }) {
  const { t } = useSpeech();
  const [open, setOpen] = useState(false);
  const [list, setList] = useState<Answers['presets'] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [cruises, setCruises] = useState<Answers['cruises'] | null>(null);
  const [home, setHome] = useState<Answers['home'] | null>(null);
  const [draft, setDraft] = useState({ number: '', name: '' });
  const [wiper, setWiper] = useState(false);

  const read = async () => {
    try { setList(await api.answer<'presets'>({ channel }, { ask: 'presets' })); setError(null); } catch (e) { setError(asApiError(e)); }
  };
  const readMore = async () => {
    // Of 2022 only: an older camera has neither, and its refusal is no news.
    setCruises(await api.answer<'cruises'>({ channel }, { ask: 'cruises' }).catch(() => null));
    setHome(await api.answer<'home'>({ channel }, { ask: 'home' }).catch(() => null));
  };
  const toggle = () => { const now = !open; setOpen(now); if (now && !list) void read().then(readMore); };
  const give = (order: Order, then?: () => void) => act(async () => { await orderTo({ channel }, order); then?.(); });
  const used = new Set(list?.items.map((p) => p.preset));
  const free = () => { for (let n = 1; n <= 255; n++) if (!used.has(n)) return n; return 255; };
  const number = draft.number === '' ? free() : Number(draft.number);
  const sound = Number.isInteger(number) && number >= 1 && number <= 255;
  const save = async () => {
    const taken = list?.items.find((p) => p.preset === number);
    if (taken && !(await confirmOrder(t('preset.replace.ask'), t('preset.replace.text', { n: number, name: taken.name || number }), t('preset.save')))) return;
    await give({ do: 'preset_set', preset: number, name: draft.name.trim() || null }, () => { setDraft({ number: '', name: '' }); void read(); });
  };
  const remove = async (n: number, name: string) => {
    if (!(await confirmOrder(t('preset.delete.ask'), t('preset.delete.text', { n, name: name || n }), t('delete')))) return;
    await give({ do: 'preset_delete', preset: n }, () => void read());
  };
  return (
    <div className="presets">
      <button type="button" className="presets-head" aria-expanded={open} data-testid="presets-open" onClick={toggle}><Icon name={open ? 'down' : 'right'} />{t('preset.title')}{list && <span className="num">{list.items.length}</span>}</button>
      {open && <>
        {error && <ErrorLine error={error} />}
        {list && !list.complete && <p className="hint">{t('preset.partial')}</p>}
        {list && list.items.length === 0 && <p className="hint">{t('preset.none')}</p>}
        <ul className="preset-list" data-testid="presets">
          {list?.items.map((p) => (
            <li key={p.preset}>
              <Button className="preset-call" testId={`preset-call-${p.preset}`} title={t('preset.call', { name: p.name || p.preset })} onClick={() => void give({ do: 'preset_call', preset: p.preset })}><span className="num">{p.preset}</span> {p.name || t('preset.unnamed')}</Button>
              <Button look="quiet" icon="trash" testId={`preset-delete-${p.preset}`} aria-label={t('preset.delete', { name: p.name || p.preset })} title={t('delete')} onClick={() => void remove(p.preset, p.name)} />
            </li>
          ))}
        </ul>
        <form className="preset-new" onSubmit={(e) => { e.preventDefault(); if (sound) void save(); }}>
          <input className="num" inputMode="numeric" value={draft.number} placeholder={String(free())} aria-label={t('preset.number')} data-testid="preset-number" onChange={(e) => setDraft({ ...draft, number: e.target.value.replace(/\D/g, '').slice(0, 3) })} />
          <input value={draft.name} maxLength={32} placeholder={t('preset.name')} aria-label={t('preset.name')} data-testid="preset-name" onChange={(e) => setDraft({ ...draft, name: e.target.value })} />
          <Button type="submit" icon="plus" testId="preset-save" disabled={!sound} title={t('preset.save.title')}>{t('preset.save')}</Button>
        </form>
        <div className="actions">
          <Button testId="home-toggle" pressed={!!home?.enabled} disabled={!list?.items.length && !home} title={t('home.title')} onClick={() => void give({ do: 'home_position', enabled: !home?.enabled, ...(home?.enabled ? {} : { reset_s: home?.reset_s || 60, preset: home?.preset || list?.items[0]?.preset || 1 }) }, () => void readMore())}>{t('home.toggle')}</Button>
          <Button testId="wiper" pressed={wiper} title={t('wiper.title')} onClick={() => { const on = !wiper; void give({ do: 'switch', number: 1, on }, () => setWiper(on)); }}>{t('wiper')}</Button>
          <Button icon="refresh" look="quiet" testId="presets-again" aria-label={t('again')} title={t('again')} onClick={() => void read().then(readMore)} />
        </div>
        <CruiseRow list={cruises} presets={list} give={give} again={() => void readMore()} />
      </>}
    </div>
  );
}

function CruiseRow({ list, presets, give, again }: { list: Answers['cruises'] | null; presets: Answers['presets'] | null; give: (o: Order, then?: () => void) => Promise<unknown>; again: () => void }) {
  const { t } = useSpeech();
  const [number, setNumber] = useState(1);
  const name = list?.items.find((c) => c.number === number)?.name;
  // All presets in their order: what a duty officer wants of a cruise in nine of ten cases.
  const build = async () => {
    await give({ do: 'cruise_remove', cruise: number });
    for (const p of presets?.items ?? []) await give({ do: 'cruise_add', cruise: number, preset: p.preset });
    again();
  };
  return (
    <div className="cruise">
      <label className="inline">{t('cruise.title')}<input type="number" className="num" min={0} max={255} value={number} aria-label={t('cruise.number')} data-testid="cruise-number" onChange={(e) => setNumber(Math.max(0, Math.min(255, Math.trunc(Number(e.target.value)) || 0)))} />{name && <small>{name}</small>}</label>
      <div className="actions">
        <Button icon="play" testId="cruise-start" onClick={() => void give({ do: 'cruise_start', cruise: number })}>{t('cruise.start')}</Button>
        <Button testId="cruise-stop" onClick={() => void give({ do: 'cruise_stop' })}>{t('cruise.stop')}</Button>
        <Button look="quiet" testId="cruise-build" disabled={!presets?.items.length} title={t('cruise.build.title')} onClick={() => void build()}>{t('cruise.build')}</Button>
      </div>
    </div>
  );
}
