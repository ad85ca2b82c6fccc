// Keeps the whole folder, so that the page works without a network after the first visit. A new version is fetched whole,
// checked, and takes over once no page shows the old one: never one version's model with another's classes.
const SITE = {{ site }}
const MINE = `camtraps ${new URL(registration.scope).pathname} `, CACHE = MINE + SITE.version

async function keep() {
  const cache = await caches.open(CACHE)
  for (const [name, { sha256, type }] of Object.entries(SITE.files)) {
    const url = new URL(name, registration.scope)
    const answer = await fetch(url, { cache: 'no-cache' })
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`)
    const data = await answer.arrayBuffer()
    const found = [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))].map(o => o.toString(16).padStart(2, '0')).join('')
    if (found !== sha256) throw new Error(`${name} is not the one of this version`)
    await cache.put(url, new Response(data, { headers: { 'Content-Type': type } }))
  }
}

async function dropOthers() {
  const names = await caches.keys()
  await Promise.all(names.filter(o => o.startsWith(MINE) && o !== CACHE).map(o => caches.delete(o)))
}

async function kept(request, url) {
  const cache = await caches.open(CACHE)
  return await cache.match(url.href) ?? fetch(request)
}

addEventListener('install', event => event.waitUntil(keep().catch(async error => { await caches.delete(CACHE); throw error })))
addEventListener('activate', event => event.waitUntil(dropOthers()))
addEventListener('fetch', event => {
  const url = new URL(event.request.url)
  url.search = url.hash = ''
  if (event.request.method !== 'GET' || !url.href.startsWith(registration.scope)) return
  if (url.href === registration.scope) url.href += 'index.html'
  const name = decodeURIComponent(url.href.slice(registration.scope.length))
  if (Object.hasOwn(SITE.files, name)) event.respondWith(kept(event.request, url))
})
