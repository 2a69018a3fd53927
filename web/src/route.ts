// Seven pages, no router library.
import { createStore, useStore } from './state/store';

export interface Route { page: 'watch' | 'alarms' | 'confer' | 'messages' | 'calls' | 'replay' | 'admin' | 'wall'; arg: string; query: string }

export function parseRoute(path: string, search = ''): Route {
  const [, page = '', ...rest] = path.split('/');
  const arg = rest.map(decodeURIComponent).join('/');
  switch (page) {
    case 'alarms': case 'confer': case 'messages': case 'calls': case 'replay': case 'admin': case 'wall': return { page, arg, query: search };
    default: return { page: 'watch', arg, query: search };
  }
}

const here = () => parseRoute(location.pathname, location.search);
export const route = createStore<Route>(typeof location === 'undefined' ? { page: 'watch', arg: '', query: '' } : here());
if (typeof window !== 'undefined') window.addEventListener('popstate', () => route.set(here()));

export function go(path: string, replace = false) {
  if (path === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', path);
  route.set(here());
}
export const useRoute = () => useStore(route);
