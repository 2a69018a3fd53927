// Drives headless Chromium (playwright-core) against the example `play`: node play.proof.cjs PORT view,switch,loss,whip
const { chromium } = require('playwright-core');
const http = process.argv[2] || '8090', what = (process.argv[3] || 'view,switch,whip').split(',');
const J = x => JSON.stringify(x, (k, v) => typeof v === 'number' ? Math.round(v * 1000) / 1000 : v);
(async () => {
  const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox','--use-fake-ui-for-media-stream','--use-fake-device-for-media-stream','--use-file-for-fake-video-capture='+(process.env.CAM||'cam.y4m')+'','--use-file-for-fake-audio-capture='+(process.env.MIC||'mic.wav')+'','--autoplay-policy=no-user-gesture-required','--disable-background-networking'] });
  const p = await b.newPage(); p.on('pageerror', e => console.log('err', e.message));
  await p.goto(`http://127.0.0.1:${http}/`);
  const get = u => p.evaluate(async u => (await fetch(u)).text(), u);
  if (what.includes('view')) {
    const first = [];
    for (let i = 0; i < 10; i++) {
      await p.evaluate(async () => { window.me = await whep('cam1'); });
      await p.waitForTimeout(1300 + 137 * i);
      const r = await p.evaluate(async () => { const r = await report(me); me.pc.close(); me.video.remove(); return r; });
      first.push(Math.round(r.times.first - 0)); if (!i) console.log('join0', J(r));
      if (i === 9) console.log('join9', J(r));
    }
    console.log('first frame ms after click (10 joins):', first.join(' '));
    await p.evaluate(async () => { window.me = await whep('cam1'); me.video.muted = false; });
    await p.waitForTimeout(12000);
    console.log('view', J(await p.evaluate(() => report(me))));
    console.log('leg', await p.evaluate(async () => (await fetch(me.location)).text()));
    await p.evaluate(() => { me.pc.close(); me.video.remove(); });
    await p.evaluate(async () => { window.me = await whep('cam3'); me.video.muted = false; });
    await p.waitForTimeout(4000);
    console.log('pcma', J(await p.evaluate(() => report(me))));
    await p.evaluate(() => { me.pc.close(); me.video.remove(); });
  }
  if (what.includes('switch')) {
    await p.evaluate(async () => { window.me = await whep('program'); });
    await p.waitForTimeout(3000);
    const res = [];
    for (let i = 0; i < 20; i++) {
      const to = i % 2 ? 'cam1' : 'cam2';
      await p.waitForTimeout(700 + (i * 317) % 1500);
      const r = await p.evaluate(async to => {
        me.gaps = []; const t0 = performance.now(); const bright0 = brightness(me);
        let low = 255, changed = 0; 
        await fetch('/switch/' + to, { method: 'POST' });
        for (let k = 0; k < 40; k++) { await new Promise(r => setTimeout(r, 40)); const b = brightness(me); low = Math.min(low, b); if (!changed && Math.abs(b - bright0) > 8) changed = performance.now() - t0; }
        return { changed, low, maxgap: Math.max(...me.gaps) };
      }, to);
      res.push(r);
    }
    console.log('switch ms', res.map(r => Math.round(r.changed)).join(' '));
    console.log('darkest', Math.min(...res.map(r => r.low)).toFixed(1), 'max gap ms', res.map(r => Math.round(r.maxgap)).join(' '));
    console.log('after', J(await p.evaluate(() => report(me))), 'signaling', await p.evaluate(() => me.pc.signalingState));
    await p.evaluate(() => { me.pc.close(); me.video.remove(); });
  }
  if (what.includes('loss')) {
    await p.evaluate(async () => { window.me = await whep('cam1'); });
    await p.waitForTimeout(15000);
    console.log('loss', J(await p.evaluate(() => report(me))));
    console.log('leg', await p.evaluate(async () => (await fetch(me.location)).text()));
    await p.evaluate(() => { me.pc.close(); me.video.remove(); });
  }
  if (what.includes('whip')) {
    for (const mime of ['video/VP8', 'video/H264']) {
      const name = mime.slice(6);
      await p.evaluate(async ([n, m]) => { window.w = await whip(n, m); }, [name, mime]);
      await p.waitForTimeout(8000);
      console.log('whip', name, J(await p.evaluate(() => report(w))));
      console.log((await get('/stream/browser:' + name)).replace(/\s+/g, ' '));
      await p.evaluate(async n => { window.me = await whep('browser:' + n); me.video.muted = false; }, name);
      await p.waitForTimeout(4000);
      console.log('echo', J(await p.evaluate(() => report(me))), await p.evaluate(() => brightness(me)));
      console.log((await p.evaluate(async () => (await fetch(w.location)).text())).replace(/\s+/g, ' '));
      if (process.argv[4] === 'sdp' && name === 'VP8') console.log(await p.evaluate(() => w.offer + '\n----\n' + w.answer));
      await p.evaluate(() => { me.pc.close(); me.video.remove(); w.pc.close(); });
      await p.waitForTimeout(500);
    }
  }
  console.log((await get('/stats')).replace(/\s+/g, ' '));
  await b.close();
})();
