// Screenshots of every page, at two sizes, in both languages. `node dev/shots.mjs [only]`; they land in dev/shots/.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const only = process.argv[2] ?? '';
const out = new URL('./shots/', import.meta.url).pathname;
mkdirSync(out, { recursive: true });
const port = 8097;
const mock = spawn(process.execPath, [new URL('./mock.mjs', import.meta.url).pathname, String(port)], { stdio: 'inherit' });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required', '--disable-features=WebRtcHideLocalIpsWithMdns'] });
const loopback = readFileSync(new URL('./loopback.js', import.meta.url), 'utf8');
const base = `http://127.0.0.1:${port}`;
const wait = (ms) => new Promise((r) => setTimeout(r, ms));
const trouble = [];
for (let i = 0; i < 50; i++) { await wait(200); if (await fetch(base).then(() => true, () => false)) break; }

const sizes = process.env.SIZES ? process.env.SIZES.split(',').map((s) => s.split('x').map(Number)) : [[1920, 1080], [1280, 720]];
for (const lang of (process.env.LANGS ?? 'zh,en').split(',')) for (const [width, height] of sizes) {
  const ctx = await browser.newContext({ viewport: { width, height }, locale: lang === 'zh' ? 'zh-CN' : 'en-GB', timezoneId: 'Asia/Shanghai', permissions: ['camera', 'microphone'] });
  await ctx.addInitScript(loopback);
  const page = await ctx.newPage();
  page.on('console', (m) => { if (m.type() === 'error' && !/401|404|503/.test(m.text())) trouble.push(`${lang} ${width}: ${m.text()}`); });
  page.on('pageerror', (e) => trouble.push(`${lang} ${width}: ${e.message}`));
  const shot = async (name) => { if (!only || name.includes(only)) await page.screenshot({ path: `${out}${name}-${lang}-${width}.png` }); };
  const at = async (path, ms = 900) => { await page.goto(base + path); await wait(ms); };
  const signIn = async (n, p) => { await page.getByTestId('sign-in-name').fill(n); await page.getByTestId('sign-in-password').fill(p); await page.getByTestId('sign-in-submit').click(); };
  try {
    await at('/', 500);
    await shot('sign-in');
    await signIn('admin', 'wrong'); await wait(300); await shot('sign-in-wrong');
    await signIn('admin', 'admin'); await page.getByTestId('tile-0').waitFor();
    await wait(3500);
    await shot('watch');
    await page.keyboard.press('1'); await wait(1800); await shot('watch-tile');
    await page.keyboard.press('4'); await wait(1200); await shot('watch-stalled');
    await page.keyboard.press('3'); await wait(1200); await shot('watch-ptz');
    await page.keyboard.press('8'); await page.keyboard.press('?'); await wait(400); await shot('watch-keys');
    await page.keyboard.press('Escape'); await wait(200);
    await page.getByTestId('layout-4').click(); await page.keyboard.press('2'); await wait(1500); await shot('watch-4');
    await page.getByTestId('layout-9').click(); await wait(600);
    await page.keyboard.press('Escape'); await page.keyboard.press('/'); await page.keyboard.type('油库'); await wait(700);
    await page.locator('[data-testid^="channel-gb28181"]').first().click(); await wait(800); await shot('watch-failed');
    if (!only || 'watch-lost'.includes(only)) { await page.evaluate(() => { window.__noMedia = true; for (const p of window.__legs.values()) p.close(); window.__legs.clear(); }); await wait(5500); await shot('watch-lost'); await page.evaluate(() => { window.__noMedia = false; }); }
    await at('/wall/1', 3500); await shot('wall');
    await at('/confer/c1', 2500); await shot('confer');
    await page.getByTestId('conference-join').click(); await wait(2500); await shot('confer-in');
    await page.getByTestId('conference-leave').click(); await wait(200);
    await at('/confer/c2', 900); await shot('confer-empty');
    await at('/replay', 1200); await shot('replay');
    await page.locator('[data-testid^="recording-"] > button').nth(2).click(); await wait(1800); await shot('replay-play');
    await at('/calls'); await shot('calls'); await at('/calls/missed'); await shot('calls-missed');
    for (const tab of ['devices', 'phones', 'trunks', 'queues', 'lists', 'accounts', 'plans', 'audit', 'system']) { await at(`/admin/${tab}`, 700); if (tab === 'devices') { await page.locator('[data-testid^="device-row-"]').nth(4).click(); await wait(200); } await shot(`admin-${tab}`); }
    await page.getByTestId('user').click(); await page.getByTestId('sign-out').click(); await wait(300);
    await signIn('first', 'first'); await page.getByTestId('password-old').waitFor(); await shot('first-password');
  } catch (e) { trouble.push(`${lang} ${width}: ${e.message}`); await page.screenshot({ path: `${out}TROUBLE-${lang}-${width}.png` }); }
  await ctx.close();
}
await browser.close();
mock.kill();
console.log(trouble.length ? [...new Set(trouble)].join('\n') : 'no errors in the pages');
