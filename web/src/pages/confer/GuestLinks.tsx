import { useCallback, useEffect, useState } from 'react';
import { encode } from 'uqr';
import { api } from '../../api/client';
import type { Conference, GuestLink, MadeLink } from '../../api/types';
import { useSpeech } from '../../i18n';
import { onEvent, serverNow } from '../../state/live';
import { act, Button, confirmOrder, Dialog, Field } from '../../ui/basic';
import { dateTime } from '../../ui/format';

const HOURS = [1, 4, 12, 24, 72, 168];

/** Makes links by which guests come without an account, and withdraws them. */
export function GuestLinks({ c, onClose }: { c: Conference; onClose: () => void }) {
  const { t } = useSpeech();
  const [list, setList] = useState<GuestLink[]>([]);
  const [made, setMade] = useState<MadeLink | null>(null);
  const [name, setName] = useState('');
  const [role, setRole] = useState<'speaker' | 'listener'>('speaker');
  const [camera, setCamera] = useState(true);
  const [hours, setHours] = useState(24);
  const [uses, setUses] = useState('');
  const read = useCallback(() => void act(api.guestLinks(c.id)).then((l) => l && setList(l.items)), [c.id]);
  useEffect(read, [read]);
  useEffect(() => onEvent((e) => { if ((e.type === 'lobby' || e.type === 'member' || e.type === 'member_left') && e.conference === c.id) read(); }), [read, c.id]);
  const make = async () => {
    const link = await act(api.makeGuestLink(c.id, { name: name.trim(), role, camera, minutes: hours * 60, uses: Number(uses) || 0 }));
    if (link) { setMade(link); setName(''); read(); }
  };
  const withdraw = async (l: GuestLink) => {
    if (!await confirmOrder(t('link.withdraw.ask', { name: l.name || t('link.unnamed') }), t('link.withdraw.text'), t('link.withdraw'))) return;
    await act(api.withdrawGuestLink(c.id, l.id));
    if (made?.link.id === l.id) setMade(null);
    read();
  };
  return (
    <Dialog title={`${t('link.title')} · ${c.name}`} onClose={onClose} wide>
      <div className="links">
        {made ? <Ready made={made} onMore={() => setMade(null)} /> : (
          <form className="links-form" onSubmit={(e) => { e.preventDefault(); void make(); }}>
            <Field label={t('link.name')} hint={t('link.name.hint')}><input autoFocus maxLength={64} value={name} data-testid="link-name" onChange={(e) => setName(e.target.value)} /></Field>
            <div className="links-row">
              <Field label={t('link.role')}><select value={role} data-testid="link-role" onChange={(e) => setRole(e.target.value as 'speaker' | 'listener')}>{(['speaker', 'listener'] as const).map((r) => <option key={r} value={r}>{t(`role.${r}`)}</option>)}</select></Field>
              <Field label={t('link.minutes')}><select value={hours} data-testid="link-hours" onChange={(e) => setHours(Number(e.target.value))}>{HOURS.map((h) => <option key={h} value={h}>{h < 24 ? t('link.hour', { n: h }) : t('link.day', { n: h / 24 })}</option>)}</select></Field>
              <Field label={t('link.uses')} hint={t('link.uses.hint')}><input inputMode="numeric" value={uses} data-testid="link-uses" onChange={(e) => setUses(e.target.value.replace(/\D/g, '').slice(0, 3))} /></Field>
            </div>
            <label className="check"><input type="checkbox" checked={camera} data-testid="link-camera" onChange={(e) => setCamera(e.target.checked)} />{t('link.camera')}</label>
            <footer><Button type="submit" look="main" icon="link" testId="link-make">{t('link.make')}</Button></footer>
          </form>
        )}
        <section><h3>{t('link.list')}</h3>
          {list.length === 0 ? <p className="hint">{t('link.none')}</p> : (
            <ul className="links-list">{[...list].reverse().map((l) => {
              const over = l.withdrawn ? t('link.withdrawn') : Date.parse(l.expires_at) <= serverNow() ? t('link.expired') : '';
              return (
                <li key={l.id} data-testid={`link-${l.id}`} className={over ? 'links-over' : ''}>
                  <b>{l.name || t('link.unnamed')}</b><span>{t(`role.${l.role}`)}</span>
                  <span className="num">{over || t('link.until', { at: dateTime(l.expires_at) })}</span><span className="num">{t('link.used', { n: l.used, of: l.uses })}</span>
                  {!over && <Button look="danger" testId={`link-${l.id}-withdraw`} onClick={() => void withdraw(l)}>{t('link.withdraw')}</Button>}
                </li>
              );
            })}</ul>
          )}
        </section>
      </div>
    </Dialog>
  );
}

function Ready({ made, onMore }: { made: MadeLink; onMore: () => void }) {
  const { t } = useSpeech();
  const [copied, setCopied] = useState(false);
  const url = made.url ?? `${location.origin}${made.path}`;
  const local = /^https?:\/\/(127\.|localhost|\[::1\])/.test(url);
  return (
    <section className="links-ready" data-testid="link-ready">
      <Qr text={url} label={t('link.qr')} />
      <div>
        <p>{t('link.ready')}</p>
        <output className="wrap num" data-testid="link-url">{url}</output>
        {local && <p className="hint warn-text">{t('link.local')}</p>}
        <div className="choices"><Button look="main" testId="link-copy" onClick={() => void navigator.clipboard?.writeText(url).then(() => setCopied(true), () => {})}>{t(copied ? 'link.copied' : 'link.copy')}</Button><Button testId="link-more" onClick={onMore}>{t('link.make')}</Button></div>
        <p className="hint">{t('link.qr')}</p>
      </div>
    </section>
  );
}

/** A QR code (ISO/IEC 18004), drawn as one path with its quiet zone of four modules. */
export function Qr({ text, label }: { text: string; label: string }) {
  const { data, size } = encode(text, { ecc: 'M', border: 4 });
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : []))).join('');
  return <svg className="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} data-testid="link-qr" shapeRendering="crispEdges"><rect width={size} height={size} fill="#fff" /><path d={path} fill="#000" /></svg>;
}
