import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Picture, Snapshot } from '../../api/types';
import { useSpeech } from '../../i18n';
import { onEvent } from '../../state/live';
import { isAdmin, isOperator, session } from '../../state/session';
import { createStore, useStore } from '../../state/store';
import { act, Button, confirmOrder, Dialog, Empty, ErrorLine, FaultBox } from '../../ui/basic';
import { bytes, dateTime } from '../../ui/format';
import { useRead } from '../../ui/useRead';

/** The last order of each channel, as the gateway told it. */
const orders = createStore<ReadonlyMap<string, Snapshot>>(new Map());
const know = (s: Snapshot) => orders.set((m) => { const n = new Map(m); n.set(s.channel, s); return n; });
onEvent((e) => { if (e.type === 'snapshot') know(e.snapshot); });

/** Takes a picture: the device's own where it can, else a still of the live picture. */
export async function takePicture(channel: string) {
  const s = await act(api.takePicture(channel));
  // An event may have been faster than the answer.
  if (s && orders.get().get(channel)?.id !== s.id) know(s);
}
export const useOrder = (channel: string | null) => useStore(orders, (m) => (channel ? m.get(channel) ?? null : null));

export function CameraButton({ channel, small }: { channel: string; small?: boolean }) {
  const { t } = useSpeech();
  const can = useStore(session, isOperator);
  const under = useOrder(channel)?.state === 'ordered';
  if (!can) return null;
  return (
    <Button icon="photo" look={small ? 'quiet' : 'plain'} testId={small ? 'tile-picture' : 'take-picture'} disabled={under} title={t('picture.title')} aria-label={t('picture.take')}
      onClick={(e) => { e.stopPropagation(); void takePicture(channel); }} onDoubleClick={(e) => e.stopPropagation()}>{small ? undefined : t(under ? 'picture.taking' : 'picture.take')}</Button>
  );
}

const PAGE = 12;

/** The pictures of a channel, newest first. */
export function Pictures({ channel }: { channel: string }) {
  const { t } = useSpeech();
  const [most, setMost] = useState(PAGE);
  const [open, setOpen] = useState<Picture | null>(null);
  const order = useOrder(channel);
  const list = useRead(() => api.pictures({ channel, limit: most }), [channel, most]);
  useEffect(() => setMost(PAGE), [channel]);
  useEffect(() => onEvent((e) => {
    if ((e.type === 'picture' && e.picture.channel === channel) || (e.type === 'picture_removed' && e.channel === channel)) void list.again();
  }), [channel, list.again]);
  const items = list.value?.items ?? [];
  return (
    <section className="pictures" data-testid="pictures">
      <h3>{t('picture.list', { n: list.value?.total ?? 0 })}</h3>
      {order && <OrderLine order={order} />}
      <ErrorLine error={list.error} />
      {list.value && items.length === 0 && <p className="hint">{t('picture.none')}</p>}
      <div className="picture-grid">
        {items.map((p) => (
          <button key={p.id} type="button" className="picture" data-testid={`picture-${p.id}`} data-source={p.source} onClick={() => setOpen(p)} title={dateTime(p.taken_at)}>
            <img src={api.pictureUrl(p.id, 'thumb')} alt={t('picture.alt', { at: dateTime(p.taken_at) })} loading="lazy" />
            <span className="num">{dateTime(p.taken_at)}</span>
          </button>
        ))}
      </div>
      {list.value && list.value.total > items.length && <Button look="quiet" onClick={() => setMost((n) => n + PAGE * 2)}>{t('picture.more')}</Button>}
      {open && <Whole picture={open} onClose={() => setOpen(null)} />}
    </section>
  );
}

function OrderLine({ order }: { order: Snapshot }) {
  const { t, pick } = useSpeech();
  return (
    <div data-testid="picture-order" data-state={order.state} data-source={order.source} role="status">
      {order.state === 'ordered' && <p className="hint">{t('picture.under', { n: order.pictures.length, of: order.count })}</p>}
      {order.note && <p className={`hint ${order.state === 'partial' ? 'warn-text' : ''}`}>{pick(order.note)}</p>}
      {order.fault && <FaultBox fault={order.fault} />}
    </div>
  );
}

function Whole({ picture: p, onClose }: { picture: Picture; onClose: () => void }) {
  const { t } = useSpeech();
  const admin = useStore(session, isAdmin);
  const [gone, setGone] = useState(false);
  const remove = async () => {
    if (!(await confirmOrder(t('picture.delete'), t('picture.delete.ask', { at: dateTime(p.taken_at) }), t('picture.delete')))) return;
    if ((await act(async () => { await api.deletePicture(p.id); return true; })) !== undefined) onClose();
  };
  return (
    <Dialog title={t('picture.of', { at: dateTime(p.taken_at) })} onClose={onClose} wide>
      {gone ? <Empty title={t('picture.gone')} /> : <img className="picture-whole" data-testid="picture-whole" src={api.pictureUrl(p.id)} alt={t('picture.alt', { at: dateTime(p.taken_at) })} onError={() => setGone(true)} />}
      <dl className="facts num">
        <dt>{t('picture.source')}</dt><dd>{t(p.source === 'device' ? 'picture.source.device' : 'picture.source.stream')}</dd>
        <dt>{t('picture.size')}</dt><dd>{p.width}×{p.height}, {bytes(p.bytes)}</dd>
        <dt>{t('picture.received')}</dt><dd>{dateTime(p.received_at)}</dd>
        <dt>{t('picture.by')}</dt><dd>{p.ordered_by}</dd>
        {p.name && <><dt>{t('picture.name')}</dt><dd className="wrap">{p.name}</dd></>}
      </dl>
      <footer>
        {admin && <Button look="danger" icon="trash" testId="picture-delete" onClick={() => void remove()}>{t('picture.delete')}</Button>}
        <a className="btn btn-plain" data-testid="picture-download" href={api.pictureUrl(p.id, 'download')} download>{t('picture.download')}</a>
      </footer>
    </Dialog>
  );
}
