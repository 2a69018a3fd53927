import { useState } from 'react';
import { api } from '../../api/client';
import type { Device } from '../../api/types';
import { useSpeech } from '../../i18n';
import { useDeviceList } from '../../state/tree';
import { act, Button, confirmOrder, Dialog, Empty, ErrorLine, Field } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { dateTime } from '../../ui/format';
import { DeviceState } from './DeviceState';
import { VirtualList } from '../../ui/VirtualList';

/** All devices: virtual, searched on the server. */
export function Devices() {
  const { t, pick } = useSpeech();
  const [query, setQuery] = useState('');
  const list = useDeviceList(query);
  const [open, setOpen] = useState<string | null>(null);
  const [password, setPassword] = useState<Device | null>(null);
  const chosen = list.items.find((d) => d.id === open) ?? null;
  const forget = async (d: Device) => {
    if (!(await confirmOrder(t('device.forget.ask'), t('device.forget.text', { name: d.name || d.id, n: d.channel_count ?? d.channels.length }), t('device.forget')))) return;
    await act(async () => { await api.forgetDevice(d.id); list.reload(); });
  };
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.devices')}</h1><span className="bar-note num">{list.total !== null ? t('tree.count', { n: list.total }) : t('loading')}</span>
        <div className="search"><Icon name="search" /><input type="search" value={query} placeholder={t('tree.search')} aria-label={t('tree.search')} data-testid="devices-search" onChange={(e) => setQuery(e.target.value)} /></div></div>
      <div className="devices">
        <div className="devices-list">
          <div className="dev-row dev-head"><span>{t('device.state')}</span><span>{t('device.name')}</span><span>{t('device.id')}</span><span>{t('device.kind')}</span><span>{t('device.model')}</span><span>{t('device.address')}</span><span>{t('device.channels')}</span><span>{t('device.seen')}</span></div>
          {list.error && list.items.length === 0 ? <div className="pad"><ErrorLine error={list.error} /></div>
            : list.items.length === 0 && !list.loading ? <Empty title={query ? t('tree.none', { q: query }) : t('tree.empty')} next={t(query ? 'tree.none.next' : 'tree.empty.next')} />
            : <VirtualList count={list.items.length} rowRem={2.5} onEnd={(last) => { if (last > list.items.length - 40) list.more(last); }} row={(i) => {
                const d = list.items[i]!;
                return (
                  <button type="button" className={`dev-row ${d.id === open ? 'on' : ''}`} data-testid={`device-row-${d.id}`} onClick={() => setOpen(d.id === open ? null : d.id)}>
                    <span className={d.online ? 's-live' : 's-offline'}><span className="shape" aria-hidden>{d.online ? '●' : '✕'}</span> {t(d.online ? 'device.online' : 'state.offline')}</span>
                    <span className="name"><Icon name={d.kind} /><span className="cut">{d.name || '–'}</span></span><span className="num">{d.id.replace(/^\w+:/, '')}</span><span>{t(`device.kind.${d.kind}`)}</span>
                    <span>{[d.manufacturer, d.model].filter(Boolean).join(' ') || '–'}</span><span className="num">{d.address ?? '–'} {d.transport ?? ''}</span><span className="num">{d.channels_online ?? d.channels.filter((c) => c.online).length}/{d.channel_count ?? d.channels.length}</span><span className="num">{dateTime(d.last_seen_at)}</span>
                  </button>
                );
              }} />}
        </div>
        {chosen && (
          <section className="dev-more" data-testid="device-details">
            <header><h2>{chosen.name || chosen.id}</h2><Button look="quiet" icon="close" aria-label={t('close')} onClick={() => setOpen(null)} /></header>
            {!chosen.online && chosen.offline_reason && <p className="warn-text"><Icon name="warn" /> {pick(chosen.offline_reason)}</p>}
            <div className="actions">
              <Button icon="refresh" testId="device-refresh" disabled={!chosen.online} onClick={() => void act(api.refreshDevice(chosen.id))}>{t('device.refresh')}</Button>
              <Button icon="lock" testId="device-password" onClick={() => setPassword(chosen)}>{t('device.password')}</Button>
              <Button look="danger" icon="trash" testId="device-forget" disabled={chosen.online} title={chosen.online ? t('device.forget.online') : ''} onClick={() => void forget(chosen)}>{t('device.forget')}</Button>
            </div>
            <dl className="facts num">
              <dt>{t('device.id')}</dt><dd className="wrap">{chosen.id}</dd><dt>{t('device.bridge')}</dt><dd>{chosen.bridge} {chosen.version ?? ''}</dd>
              <dt>{t('device.model')}</dt><dd>{[chosen.manufacturer, chosen.model, chosen.firmware].filter(Boolean).join(' ') || '–'}</dd>
              <dt>{t('device.registered')}</dt><dd>{dateTime(chosen.registered_at)}</dd><dt>{t('device.expires')}</dt><dd>{dateTime(chosen.expires_at)}</dd>
            </dl>
            {chosen.bridge === 'gb28181' && <DeviceState d={chosen} key={chosen.id} />}
            <h3>{t('device.channels')}</h3>
            {(chosen.channel_count ?? 0) > chosen.channels.length ? <p className="hint">{t('device.manyChannels', { n: chosen.channel_count ?? 0 })}</p> : chosen.channels.length === 0 ? <p className="hint">{t('device.noChannels')}</p>
              : <ul className="plain-list">{chosen.channels.map((c) => <li key={c.id} className={c.online ? '' : 'row-off'}><span className={c.online ? 's-live' : 's-offline'} aria-hidden>{c.online ? '●' : '✕'}</span> {c.name || c.id} <small className="num">{c.id.split('/').pop()}</small>{c.ptz && <span className="tag">PTZ</span>}</li>)}</ul>}
          </section>
        )}
      </div>
      {password && <PasswordDialog d={password} onClose={() => setPassword(null)} />}
    </>
  );
}

function PasswordDialog({ d, onClose }: { d: Device; onClose: () => void }) {
  const { t } = useSpeech();
  const [v, set] = useState('');
  const save = (p: string | null) => void act(async () => { await api.devicePassword(d.id, p); onClose(); });
  return (
    <Dialog title={t('device.password')} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); if (v) save(v); }}>
        <p>{t('device.password.text', { name: d.name || d.id })}</p>
        <Field label={t('device.password.new')}><input autoFocus type="password" autoComplete="new-password" value={v} onChange={(e) => set(e.target.value)} /></Field>
        <footer><Button onClick={() => save(null)}>{t('device.password.default')}</Button><Button type="submit" look="main" disabled={!v}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
