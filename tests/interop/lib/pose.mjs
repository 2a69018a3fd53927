// Where a simulated dome looks, read from the strip that it paints along the bottom of its picture (tests/fieldsim/README.md).

/** Pan and tilt in degrees and zoom, as the shown picture says; null when it cannot be read. */
export const poseOf = (browser, tile) => browser.page.evaluate((n) => {
  const video = window.skybridge.tiles.get(n)?.video;
  const w = video?.videoWidth, h = video?.videoHeight;
  if (!w || !h) return null;
  const strip = Math.max(3, Math.floor(h / 45));
  const canvas = new OffscreenCanvas(w, strip);
  const draw = canvas.getContext('2d', { willReadFrequently: true });
  draw.drawImage(video, 0, h - strip, w, strip, 0, 0, w, strip);
  const p = draw.getImageData(0, 0, w, strip).data;
  const y = Math.floor(strip / 2);
  const level = (cell) => {
    const x = Math.floor(((2 * cell + 1) * w) / 96);
    let sum = 0;
    for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) { const at = ((y + dy) * w + x + dx) * 4; sum += (p[at] + p[at + 1] + p[at + 2]) / 3; }
    return sum / 9;
  };
  const white = (level(0) + level(47)) / 2, black = (level(1) + level(46)) / 2;
  if (white < black + 60) return null;
  const bits = (from, count) => { let v = 0; for (let i = 0; i < count; i++) v = v * 2 + (level(from + i) > (white + black) / 2 ? 1 : 0); return v; };
  const code = bits(2, 31), sum = bits(33, 8);
  if ((((code >>> 24) & 255) + ((code >>> 16) & 255) + ((code >>> 8) & 255) + (code & 255)) % 256 !== sum) return null;
  return { pan: Math.floor(code / 2 ** 19) / 10, tilt: ((code >>> 8) & 0x7ff) / 10 - 30, zoom: (code & 255) / 20 };
}, tile);
