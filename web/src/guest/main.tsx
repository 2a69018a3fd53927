import { createRoot } from 'react-dom/client';
import { GuestPage } from './GuestPage';
import '../styles/base.css';
import './guest.css';

createRoot(document.getElementById('root')!).render(<GuestPage token={location.pathname.split('/')[2] ?? ''} />);
