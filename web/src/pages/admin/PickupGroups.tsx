import { useState } from 'react';
import { api } from '../../api/client';
import type { Phone, PickupGroup } from '../../api/types';
import { useSpeech } from '../../i18n';
import { act, Button, confirmOrder, Dialog, Empty, ErrorLine, Field } from '../../ui/basic';
import { useRead } from '../../ui/useRead';
import { Numbers } from './Numbers';

/** Who may take whose ringing call. */
export function PickupGroups({ phones, onClose }: { phones: readonly Phone[]; onClose: () => void }) {
  const { t } = useSpeech();
  const { value, error, again } = useRead(() => api.pickupGroups(), []);
  const [edit, setEdit] = useState<PickupGroup | null>(null);
  const [fresh, setFresh] = useState(false);
  const save = () => { if (edit) void act(async () => { await api.putPickupGroup(edit.name.trim(), edit.members); setEdit(null); void again(); }); };
  const remove = async (g: PickupGroup) => { if (await confirmOrder(t('pickup.delete.ask'), t('pickup.delete.text', { name: g.name }), t('delete'))) { await act(api.deletePickupGroup(g.name)); void again(); } };
  return (
    <Dialog title={t('pickup.title')} onClose={onClose} wide>
      <p className="hint">{t('pickup.note')}</p>
      <ErrorLine error={error} />
      {edit ? (
        <form onSubmit={(e) => { e.preventDefault(); save(); }}>
          <Field label={t('pickup.name')}><input autoFocus required maxLength={32} disabled={!fresh} value={edit.name} data-testid="pickup-name" onChange={(e) => setEdit({ ...edit, name: e.target.value })} /></Field>
          <Numbers label={t('pickup.members')} value={edit.members} phones={phones} onChange={(members) => setEdit({ ...edit, members })} testId="pickup-members" />
          <footer><Button onClick={() => setEdit(null)}>{t('cancel')}</Button><Button type="submit" look="main" testId="pickup-save" disabled={!edit.name.trim() || edit.members.length < 2}>{t('save')}</Button></footer>
        </form>
      ) : (
        <>
          {value?.items.length === 0 && <Empty title={t('pickup.none')} next={t('pickup.none.next')} />}
          <ul className="plain-list rows">{value?.items.map((g) => <li key={g.name} data-testid={`pickup-${g.name}`}><b>{g.name}</b><span className="num">{g.members.join('  ')}</span><span className="row-tools"><Button look="quiet" icon="edit" aria-label={t('edit')} title={t('edit')} onClick={() => { setFresh(false); setEdit(g); }} /><Button look="quiet" icon="trash" aria-label={t('delete')} title={t('delete')} onClick={() => void remove(g)} /></span></li>)}</ul>
          <footer><Button icon="plus" look="main" testId="pickup-add" onClick={() => { setFresh(true); setEdit({ name: '', members: [] }); }}>{t('pickup.add')}</Button></footer>
        </>
      )}
    </Dialog>
  );
}
