// Keeps the whole folder, so that the page works without a network after the first visit. A new version is fetched whole,
// checked, and takes over once no page shows the old one: never one version's model with another's classes.
const SITE = {{ site }}
const MINE = `camtraps ${new URL(registration.scope).pathname} `, CACHE = MINE + SITE.version

const hash = async data => [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))].map(o => o.toString(16).padStart(2, '0')).join('')

async function fetched(name) {
  const { sha256, type } = SITE.files[name]
  const answer = await fetch(new URL(name, registration.scope), { cache: 'no-cache' })
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`)
  const data = await answer.arrayBuffer()
  if (await hash(data) !== sha256) throw new Error(`${name} is not the one of this version`)
  return new Response(data, { headers: { 'Content-Type': type } })
}

async function keep() {
  const cache = await caches.open(CACHE)
  for (const [name, { later }] of Object.entries(SITE.files)) if (!later) await cache.put(new URL(name, registration.scope), await fetched(name))
}

async function dropOthers() {
  const names = await caches.keys()
  await Promise.all(names.filter(o => o.startsWith(MINE) && o !== CACHE).map(o => caches.delete(o)))
}

// What not every device needs is kept when it is first asked for.
async function kept(name, url) {
  const cache = await caches.open(CACHE), found = await cache.match(url.href)
  if (found) return found
  try {
    const answer = await fetched(name)
    await cache.put(url.href, answer.clone())
    return answer
  } catch { return Response.error() }
}

addEventListener('install', event => event.waitUntil(keep().catch(async error => { await caches.delete(CACHE); throw error })))
addEventListener('activate', event => event.waitUntil(dropOthers()))
addEventListener('fetch', event => {
  const url = new URL(event.request.url)
  url.search = url.hash = ''
  if (event.request.method !== 'GET' || !url.href.startsWith(registration.scope)) return
  if (url.href === registration.scope) url.href += 'index.html'
  const name = decodeURIComponent(url.href.slice(registration.scope.length))
  if (Object.hasOwn(SITE.files, name)) event.respondWith(kept(name, url))
})
addEventListener('message', event => { if (event.data === 'take over') skipWaiting() })
