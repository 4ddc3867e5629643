// The npm package oidc-provider with the device flow, and a person with a browser who signs in there.
//
//   node oidc_provider.mjs PORT CONTROL_PORT token|userinfo
//
// Groups are claims of the ID token, or of userinfo alone. The control port takes POST /sign-in?uri=…&account=…, /refuse?uri=…, /groups?account=…&groups=…,
// /disable?account=…, /rotate, /clock?seconds=…, /away and /back.
import * as crypto from 'node:crypto';
import * as http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.MODULES}/`);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

const [port, controlPort, place] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const groups = { ann: ['staff', 'guests'], eve: ['guests'] };
const disabled = new Set();
const device = 'urn:ietf:params:oauth:grant-type:device_code';

let offset = 0;
const now = Date.now;
Date.now = () => now() + offset;

const client = (id, more) => ({
  client_id: id, redirect_uris: [], response_types: [], grant_types: [device, 'refresh_token'], id_token_signed_response_alg: 'ES256', ...more,
});

function start(key) {
  const provider = new Provider(issuer, {
    clients: [
      client('public', { token_endpoint_auth_method: 'none' }),
      client('basic', { client_secret: 'basic secret +&%', token_endpoint_auth_method: 'client_secret_basic' }),
      client('other', { client_secret: 'other-secret', token_endpoint_auth_method: 'client_secret_basic' }),
      client('rsa', { token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'PS256' }),
      client('no-device', { token_endpoint_auth_method: 'none', grant_types: ['refresh_token'] }),
    ],
    jwks: { keys: [key, rsa] },
    claims: { openid: ['sub', 'groups'] },
    conformIdTokenClaims: place === 'userinfo',
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true }, revocation: { enabled: true } },
    enabledJWA: { idTokenSigningAlgValues: ['ES256', 'PS256'] },
    cookies: { keys: ['not a secret'] },
    findAccount: (_ctx, id) => (disabled.has(id) ? undefined : { accountId: id, claims: () => ({ sub: id, groups: groups[id] }) }),
    rotateRefreshToken: true,
    ttl: { AccessToken: 300, DeviceCode: 300, IdToken: 300, RefreshToken: 86400, Grant: 86400, Interaction: 300, Session: 300 },
  });
  return provider.callback();
}

const rsa = { ...crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), kid: 'rsa', use: 'sig' };
let keys = 0;
const newKey = () => ({
  ...crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), kid: `key-${keys += 1}`, use: 'sig',
});
let handle = start(newKey());
let server;
const listen = () => new Promise((done) => {
  server = http.createServer((request, response) => handle(request, response)).listen(port, '127.0.0.1', done);
});
await listen();

// A browser: cookies, redirects, and the forms of the provider's own pages.
async function browse(uri, account, refuse) {
  const jar = new Map();
  const fetchPage = async (url, form) => {
    for (let hops = 0; hops < 20; hops += 1) {
      const cookies = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
      const response = await fetch(url, {
        method: form ? 'POST' : 'GET', redirect: 'manual', headers: { cookie: cookies }, body: form && new URLSearchParams(form),
      });
      for (const cookie of response.headers.getSetCookie()) {
        const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/);
        if (value) jar.set(name, value); else jar.delete(name);
      }
      const place = response.headers.get('location');
      if (!place) return { url, text: await response.text() };
      url = new URL(place, url).href;
      form = undefined;
    }
    throw new Error('too many redirects');
  };
  const hidden = (text) => Object.fromEntries([...text.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([input]) => [
    input.match(/name="([^"]*)"/)[1], input.match(/value="([^"]*)"/)?.[1] ?? '',
  ]));
  const action = (page) => new URL(page.text.match(/<form[^>]*action="([^"]*)"/)[1], page.url).href;
  let page = await fetchPage(uri);
  // The code is in the address: the page posts itself.
  page = await fetchPage(action(page), hidden(page.text));
  page = await fetchPage(action(page), { ...hidden(page.text), ...(refuse ? { abort: 'yes' } : { confirm: 'yes' }) });
  if (refuse) return 'refused';
  page = await fetchPage(action(page), { prompt: 'login', login: account, password: 'any' });
  page = await fetchPage(action(page), { prompt: 'consent' });
  if (!page.text.includes('Sign-in Success')) throw new Error(page.text);
  return 'signed in';
}

const controls = {
  '/sign-in': (query) => browse(query.get('uri'), query.get('account')),
  '/refuse': (query) => browse(query.get('uri'), undefined, true),
  '/groups': (query) => { groups[query.get('account')] = query.get('groups').split(','); },
  '/disable': (query) => { disabled.add(query.get('account')); },
  '/rotate': () => { handle = start(newKey()); },
  '/clock': (query) => { offset = Number(query.get('seconds')) * 1000; },
  '/away': () => new Promise((done) => { server.close(done); server.closeAllConnections(); }),
  '/back': listen,
};
http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, issuer);
  try {
    response.end(`${await controls[pathname](searchParams)}`);
  } catch (error) {
    console.error(error);
    response.writeHead(500).end(`${error}`);
  }
}).listen(controlPort, '127.0.0.1');
