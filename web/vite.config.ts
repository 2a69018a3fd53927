import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// In development the API is taken from a gateway (SKYBRIDGE_API) or from dev/mock.mjs.
const target = process.env.SKYBRIDGE_API ?? 'http://127.0.0.1:8099';

/** As the gateway does: guests by link get a page of their own. */
const join = { name: 'join', configureServer: (s: { middlewares: { use: (f: (r: { url?: string }, _: unknown, next: () => void) => void) => void } }) => { s.middlewares.use((r, _, next) => { if (r.url?.startsWith('/join/')) r.url = '/join.html'; next(); }); } };

export default defineConfig({
  plugins: [react(), join],
  build: { target: 'es2022', sourcemap: false, chunkSizeWarningLimit: 800, rolldownOptions: { input: ['index.html', 'join.html'] } },
  server: { host: '127.0.0.1', port: 5173, proxy: { '/api': { target, ws: true } } },
});
