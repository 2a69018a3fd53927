import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// In development the API is taken from a gateway (SKYBRIDGE_API) or from dev/mock.mjs.
const target = process.env.SKYBRIDGE_API ?? 'http://127.0.0.1:8099';

export default defineConfig({
  plugins: [react()],
  build: { target: 'es2022', sourcemap: false, chunkSizeWarningLimit: 800 },
  server: { host: '127.0.0.1', port: 5173, proxy: { '/api': { target, ws: true } } },
});
