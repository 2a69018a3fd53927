import { lazy, Suspense, useState } from 'react';
import { useSpeech, type Key } from '../../i18n';
import { PhoneSwitch } from '../../phone/PhoneSwitch';
import { go } from '../../route';
import { Button } from '../../ui/basic';
import { DialPad } from './DialPad';
import { Directory } from './Directory';
import { History } from './History';
import { Live } from './Live';

const Queues = lazy(() => import('./Queues'));
const Lists = lazy(() => import('./Lists'));
const TABS = [['', 'calls.tab.calls'], ['queues', 'calls.tab.queues'], ['lists', 'calls.tab.lists']] as const satisfies readonly (readonly [string, Key])[];

/** The telephone desk: whom one can call, what runs, what was; queues and call lists. */
export default function Calls({ tab }: { tab: string }) {
  const { t } = useSpeech();
  const [number, setNumber] = useState('');
  const here = tab === 'queues' || tab === 'lists' ? tab : '';
  return (
    <div className="page desk">
      <aside className="side side-left desk-left"><Directory onPick={setNumber} /><DialPad number={number} setNumber={setNumber} /></aside>
      <main className="centre">
        <div className="bar">
          <h1 className="sr">{t('nav.calls')}</h1>
          <nav className="segments" aria-label={t('nav.calls')}>{TABS.map(([x, k]) => <Button key={x} pressed={x === here} testId={`calls-tab-${x || 'calls'}`} onClick={() => go(x ? `/calls/${x}` : '/calls')}>{t(k)}</Button>)}</nav>
          <span className="bar-note">{here === '' ? t('calls.note') : ''}</span><PhoneSwitch />
        </div>
        {here === '' && <><Live /><History missed={tab === 'missed'} /></>}
        <Suspense fallback={<p className="hint pad">{t('loading')}</p>}>{here === 'queues' && <Queues />}{here === 'lists' && <Lists />}</Suspense>
      </main>
    </div>
  );
}
