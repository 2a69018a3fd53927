import { createRoot } from 'react-dom/client';
import './testHandle';
import { App } from './App';
import { openSession } from './state/session';
import './styles/base.css';
import './styles/shell.css';
import './styles/wall.css';
import './styles/watch.css';
import './styles/alarms.css';
import './styles/calls.css';
import './styles/confer.css';
import './styles/messages.css';
import './styles/replay.css';
import './styles/admin.css';
import './styles/talk.css';

void openSession();
createRoot(document.getElementById('root')!).render(<App />);
