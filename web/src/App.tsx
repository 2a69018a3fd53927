import { lazy, Suspense, useEffect } from 'react';
import { useSpeech } from './i18n';
import { Confer } from './pages/confer/Confer';
import { ChangePassword, SignIn, Waiting } from './pages/SignIn';
import { WallPage } from './pages/WallPage';
import { Watch } from './pages/watch/Watch';
import { useRoute } from './route';
import { leave } from './state/mine';
import { isAdmin, session } from './state/session';
import { useStore } from './state/store';
import { ConfirmHost, Empty } from './ui/basic';
import { Shell } from './ui/Shell';

const Alarms = lazy(() => import('./pages/alarms/Alarms'));
const Messages = lazy(() => import('./pages/messages/Messages'));
const Broadcasts = lazy(() => import('./pages/broadcast/Broadcasts'));
const Calls = lazy(() => import('./pages/calls/Calls'));
const Replay = lazy(() => import('./pages/replay/Replay'));
const Admin = lazy(() => import('./pages/admin/Admin'));

const isBroadcast = (arg: string) => arg.split('/')[0] === 'broadcast';

export function App() {
  const r = useRoute();
  const s = useStore(session);
  const admin = useStore(session, isAdmin);
  const { lang, t } = useSpeech();
  useEffect(() => { document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en'; }, [lang]);
  const site = s.site ? (lang === 'zh' ? s.site.name_zh : s.site.name_en) : 'Skybridge';
  useEffect(() => { document.title = site; }, [site]);

  useEffect(() => { if (s.phase === 'out') leave(); }, [s.phase]);

  if (s.phase === 'password') return <ChangePassword />;
  if (r.page === 'wall') return <WallPage id={r.arg || '1'} />;
  if (s.phase === 'unknown') return <div className="blank" />;
  if (s.phase === 'waiting') return <Waiting />;
  if (s.phase === 'out') return <SignIn />;
  return (
    <>
      <Shell page={r.page}>
        {r.page === 'watch' && <Watch />}
        {r.page === 'confer' && !isBroadcast(r.arg) && <Confer id={r.arg} />}
        <Suspense fallback={<div className="page"><p className="hint pad">{t('loading')}</p></div>}>
          {r.page === 'confer' && isBroadcast(r.arg) && <Broadcasts id={r.arg.split('/')[1] ?? ''} />}
          {r.page === 'alarms' && <Alarms />}
          {r.page === 'messages' && <Messages thread={r.arg} />}
          {r.page === 'calls' && <Calls tab={r.arg} />}
          {r.page === 'replay' && <Replay query={r.query} />}
          {r.page === 'admin' && (admin ? <Admin tab={r.arg} /> : <div className="page"><Empty title={t('admin.notAllowed')} next={t('admin.notAllowed.next')} /></div>)}
        </Suspense>
      </Shell>
      <ConfirmHost />
    </>
  );
}
