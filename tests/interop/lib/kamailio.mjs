// Kamailio as the other network: registrar with digest, proxy with Record-Route, TLS. One process for a test, on an address of its own.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from './ports.mjs';
import { until } from './stage.mjs';

const MODULES = '/usr/lib/x86_64-linux-gnu/kamailio/modules/';

export class Kamailio {
  /**
   * `numbers`: {number: user}: who of those registered is called for a number that is not his own name. `tls`: {certificate, key}.
   * `grants`: seconds that a registration lasts at most. `least`: shorter ones get 423. `stale`: the first right answer to a challenge is
   * met by a new nonce.
   */
  static async open(stage, { host = '127.0.0.2', password, numbers = {}, tls, domains = [], name = 'kamailio', grants, least, stale = false }) {
    const server = new Kamailio();
    Object.assign(server, { host, port: await freePorts(), tlsPort: await freePorts(), folder: stage.file(name) });
    mkdirSync(server.folder, { recursive: true });
    const map = Object.entries(numbers).map(([number, user]) => `    if ($rU == "${number}") { $var(number) = $rU; $rU = "${user}"; }`).join('\n');
    if (tls) {
      writeFileSync(join(server.folder, 'tls.cfg'), `[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\nprivate_key = ${tls.key}\ncertificate = ${tls.certificate}\n[client:default]\nverify_certificate = no\nrequire_certificate = no\n`);
    }
    writeFileSync(join(server.folder, 'kam.cfg'), `#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
auto_aliases=no
${['carrier.test', ...domains].map((d) => `alias="${d}"`).join('\n')}
listen=udp:${host}:${server.port}
listen=tcp:${host}:${server.port}
${tls ? `enable_tls=yes\nlisten=tls:${host}:${server.tlsPort}` : ''}
tcp_connection_lifetime=600
mpath="${MODULES}"
${['kex', 'tm', 'tmx', 'sl', 'rr', 'pv', 'maxfwd', 'usrloc', 'registrar', 'textops', 'siputils', 'xlog', 'auth', ...(tls ? ['tls'] : [])].map((m) => `loadmodule "${m}.so"`).join('\n')}
${tls ? `modparam("tls", "config", "${join(server.folder, 'tls.cfg')}")` : ''}
modparam("usrloc", "db_mode", 0)
modparam("rr", "enable_double_rr", 1)
${stale ? 'modparam("auth", "one_time_nonce", 1)' : ''}
${grants ? `modparam("registrar", "max_expires", ${grants})` : ''}
request_route {
  if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
  xlog("L_WARN", "SAW $rm $ru from $fu via $pr route=$hdr(Route) expires=$hdr(Expires) auth=$au pai=$hdr(P-Asserted-Identity) nonce=$adn\\n");
  if (has_totag()) {
    if (loose_route()) { t_relay(); exit; }
    if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
    sl_send_reply("404", "Not here"); exit;
  }
  if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
  loose_route();
  if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
  if (is_method("REGISTER")) {
    if (!pv_www_authenticate("carrier.test", "${password}", "0")) { www_challenge("carrier.test", "1"); exit; }
${stale ? '    if ($shv(stale) < 1) { $shv(stale) = 1; www_challenge("carrier.test", "17"); exit; }' : ''}
${least ? `    if ($(hdr(Expires){s.int}) > 0 && $(hdr(Expires){s.int}) < ${least}) { append_to_reply("Min-Expires: ${least}\\r\\n"); sl_send_reply("423", "Interval Too Brief"); exit; }` : ''}
    save("location"); exit;
  }
  if (is_method("INVITE")) {
    record_route();
    # Our own subscribers by baresip are known by their registration; who comes from the hall must prove himself.
    if ($rU =~ "^1" && !pv_proxy_authenticate("carrier.test", "${password}", "0")) { proxy_challenge("carrier.test", "1"); exit; }
    if ($rU =~ "^1") consume_credentials();
    $var(number) = "";
${map}
    if (!lookup("location")) { sl_send_reply("404", "No such subscriber"); exit; }
    if (!t_relay()) sl_reply_error();
    exit;
  }
  sl_send_reply("405", "Method Not Allowed");
}
`);
    server.stage = stage;
    server.name = name;
    await server.start();
    return server;
  }

  async start() {
    const server = this;
    server.process = server.stage.start(server.name, 'kamailio', ['-DD', '-E', '-m', '64', '-M', '8', '-f', join(server.folder, 'kam.cfg'), '-P', join(server.folder, 'kam.pid'), '-Y', server.folder, '-w', server.folder]);
    await until('kamailio is up', () => {
      if (!server.process.running) throw new Error(`kamailio has ended: ${server.process.err.slice(-5).join(' | ')}`);
      return [...server.process.err, ...server.process.out].some((l) => /Aliases/.test(l));
    }, 10);
  }

  /** What the request route saw. */
  saw(pattern) { return [...this.process.err, ...this.process.out].filter((l) => l.includes('SAW ') && pattern.test(l)); }
  heard(pattern, seconds = 10) { return until(`kamailio sees ${pattern}`, () => this.saw(pattern)[0], seconds); }
}
