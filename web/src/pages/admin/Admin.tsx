import { useSpeech, type Key } from '../../i18n';
import { go } from '../../route';
import { Accounts } from './Accounts';
import { Audit } from './Audit';
import { Bans } from './Bans';
import { Devices } from './Devices';
import { Phones } from './Phones';
import { Plans } from './Plans';
import { SystemTab } from './SystemTab';
import { Trunks } from './Trunks';

const TABS = [['devices', 'admin.devices', Devices], ['phones', 'admin.phones', Phones], ['trunks', 'admin.trunks', Trunks], ['bans', 'admin.bans', Bans], ['accounts', 'admin.accounts', Accounts], ['plans', 'admin.plans', Plans], ['audit', 'admin.audit', Audit], ['system', 'admin.system', SystemTab]] as const satisfies readonly (readonly [string, Key, () => React.ReactNode])[];

export default function Admin({ tab }: { tab: string }) {
  const { t } = useSpeech();
  const [id, label, Tab] = TABS.find(([x]) => x === tab) ?? TABS[0];
  return (
    <div className="page admin">
      <aside className="side side-left"><nav className="tabs" aria-label={t('nav.admin')}>{TABS.map(([x, k]) => <a key={x} href={`/admin/${x}`} data-testid={`admin-${x}`} aria-current={x === id ? 'page' : undefined} onClick={(e) => { if (e.ctrlKey || e.metaKey) return; e.preventDefault(); go(`/admin/${x}`); }}>{t(k)}</a>)}</nav></aside>
      <main className="centre" aria-label={t(label)}><Tab /></main>
    </div>
  );
}
