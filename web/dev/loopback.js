// Screenshots only, put into the page before it loads: answers WHEP and WHIP inside the page from drawn pictures.
(() => {
  const real = window.fetch.bind(window);
  const legs = new Map();
  const scene = (seed) => {
    const c = document.createElement('canvas'); c.width = 960; c.height = 540;
    const x = c.getContext('2d');
    const hue = (seed * 47) % 360;
    let f = 0;
    const draw = () => {
      f++;
      const g = x.createLinearGradient(0, 0, 0, 540); g.addColorStop(0, `hsl(${200 + (seed % 4) * 8} 32% ${62 - (seed % 5) * 6}%)`); g.addColorStop(0.5, `hsl(${190 + hue / 12} 22% 70%)`); x.fillStyle = g; x.fillRect(0, 0, 960, 540);
      for (let l = 0; l < 4; l++) { x.fillStyle = `hsl(${110 + l * 12 + (seed % 3) * 14} ${14 + l * 5}% ${52 - l * 10}%)`; x.beginPath(); x.moveTo(0, 540); for (let i = 0; i <= 960; i += 16) x.lineTo(i, 210 + l * 62 + Math.sin(i / (90 + l * 23) + seed * 1.7 + l) * (34 - l * 5) + Math.sin(i / 31 + seed) * 6); x.lineTo(960, 540); x.fill(); }
      x.fillStyle = `hsl(205 30% ${44 + (seed % 3) * 6}%)`; x.beginPath(); x.moveTo(300 + (seed % 4) * 60, 330); x.lineTo(520, 330); x.lineTo(900, 540); x.lineTo(60, 540); x.fill();
      x.strokeStyle = 'rgba(255,255,255,.25)'; for (let i = 0; i < 22; i++) { const y = 340 + i * 9; x.beginPath(); const o = (f * 2 + i * 57) % 300; x.moveTo(250 + o, y); x.lineTo(300 + o + i * 4, y); x.stroke(); }
      x.fillStyle = '#5b6269'; x.fillRect(500 + (seed % 5) * 40, 250, 14, 190); x.fillRect(440 + (seed % 5) * 40, 246, 260, 16);
      x.fillStyle = 'rgba(0,0,0,.35)'; x.fillRect(700, 8, 250, 28); x.fillStyle = '#fff'; x.font = '20px monospace'; x.fillText(new Date().toISOString().slice(0, 19).replace('T', ' '), 708, 29);
    };
    draw(); setInterval(draw, 66);
    return c.captureStream(15);
  };
  window.fetch = async (input, init = {}) => {
    const url = String(input);
    const m = /\/api\/v1\/(whep|whip)\/([^?]+)/.exec(url);
    if (!m || window.__noMedia) { const l = /\/api\/v1\/legs\/([^/]+)$/.exec(url); if (l && init.method === 'DELETE') { legs.get(l[1])?.close(); legs.delete(l[1]); return new Response(null, { status: 204 }); } if (l) return new Response(JSON.stringify({ id: l[1], state: legs.has(l[1]) ? 'connected' : 'closed' })); return real(input, init); }
    const id = decodeURIComponent(m[2]);
    let seed = 0; for (const k of id) seed = (seed * 31 + k.charCodeAt(0)) % 97;
    const pc = new RTCPeerConnection();
    await pc.setRemoteDescription({ type: 'offer', sdp: init.body });
    if (m[1] === 'whep') for (const t of pc.getTransceivers()) if (t.receiver.track.kind === 'video') { t.direction = 'sendonly'; await t.sender.replaceTrack(scene(seed).getVideoTracks()[0]); }
    await pc.setLocalDescription();
    await new Promise((r) => { if (pc.iceGatheringState === 'complete') r(); else { pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && r(); setTimeout(r, 1000); } });
    const leg = 'L' + Math.random().toString(36).slice(2, 8);
    legs.set(leg, pc);
    window.__legs = legs;
    return new Response(pc.localDescription.sdp, { status: 201, headers: { 'Content-Type': 'application/sdp', Location: `/api/v1/legs/${leg}`, ...(m[1] === 'whip' ? { 'Skybridge-Member': 'm1' } : {}) } });
  };
})();
