// Looks at one photograph after the other, away from the page, so that the page never hangs. It asks for nothing but the
// folder's own files. The pixels are made as urbanrivers_camtraps.photograph makes them: upright, on white, reduced by its rule.
// A worker called `webgpu` computes on the graphics card; any other computes as WebAssembly, on the processor.
// As urbanrivers_camtraps.photograph has them.
const { ROOM, ENOUGH, BYTES, PIXELS, COSTLY_PIXELS, SCANS, SHORTEST, NARROWEST } = {{ limits }}
const THUMBNAIL = 160
const again = 'Copy or download it again'
const OWN = self.name === 'webgpu' ? { build: 'jspi', provider: 'webgpu' } : { build: 'wasm', provider: 'wasm' }
let ort, session, side

class Refused extends Error {}
const refuse = (what, todo) => { throw new Refused(todo ? `${what}. ${todo}` : what) }

async function load() {
  if (!self.DecompressionStream || !self.OffscreenCanvas) throw new Error('it is too old. Use a newer one')
  const [settings, { transforms }] = await Promise.all(['page.json', 'bundle.json'].map(async name => (await answerTo(name)).json()))
  side = transforms.size
  const runtime = OWN.build === 'jspi' ? 'vendor/ort-wasm-simd-threaded.jspi.wasm.packed' : 'vendor/ort-wasm-simd-threaded.wasm.packed'
  const both = [settings.model.file, runtime].map(name => fetched(name, settings.sizes).then(unpacked))
  const [model, program, library] = await Promise.all([...both, import(`./vendor/ort.${OWN.build}.bundle.min.mjs`)])
  ort = library
  if (crypto.subtle && await sha256(model) !== settings.model.sha256) throw new Error('the model is damaged. Load the page again')
  ort.env.wasm.numThreads = 1
  ort.env.wasm.wasmBinary = program
  ort.env.logLevel = 'error'
  session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: [OWN.provider], logSeverityLevel: 3 })
  return settings.model.sha256
}

async function answerTo(name) {
  const answer = await fetch(new URL(name, import.meta.url))
  if (!answer.ok) throw new Error(`${name} could not be loaded (${answer.status})`)
  return answer
}

// Tells the page how much has come; on a slow line, that is a minute.
const come = {}
async function fetched(name, sizes) {
  const reader = (await answerTo(name)).body.getReader(), parts = []
  come[name] = { now: 0, all: sizes[name] }
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return new Blob(parts)
    parts.push(value)
    come[name].now += value.length
    const both = Object.values(come)
    postMessage({ loaded: both.reduce((sum, o) => sum + o.now, 0), of: both.reduce((sum, o) => sum + o.all, 0) })
  }
}

// A host may have unpacked the file on its way.
async function unpacked(blob) {
  const [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer())
  if (first !== 0x1f || second !== 0x8b) return blob.arrayBuffer()
  return new Response(blob.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer()
}

async function sha256(data) {
  return [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))].map(o => o.toString(16).padStart(2, '0')).join('')
}

// What a file is and how large, from its first bytes: before anything is decoded, so that no file can fill the memory.
function headOf(data) {
  const view = new DataView(data), n = data.byteLength
  const text = (at, length) => at + length > n ? '' : String.fromCharCode(...new Uint8Array(data, at, length))
  if (n > 3 && view.getUint16(0) === 0xffd8) return jpegHead(view)
  if (text(1, 3) === 'PNG' && n > 24) return { type: 'image/png', width: view.getUint32(16), height: view.getUint32(20) }
  if (text(0, 4) === 'RIFF' && text(8, 4) === 'WEBP' && n > 30) return webpHead(view, text(12, 4))
  if (text(0, 2) === 'BM' && n > 26) {
    return { type: 'image/bmp', width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) }
  }
  if (['II*\0', 'MM\0*'].includes(text(0, 4))) return { type: 'image/tiff' }
  if (text(4, 4) === 'ftyp' && /hei|hev|mif1/.test(text(8, 4))) refuse('is a HEIC file, as telephones make them', 'Save it as JPEG first')
  if (text(4, 4) === 'ftyp' && text(8, 4) === 'avif') refuse('is an AVIF file', 'Save it as JPEG first')
  if (['ftyp', 'moov', 'mdat', 'wide'].includes(text(4, 4))) refuse('is a video (MP4 or MOV), not a photograph')
  if (text(0, 4) === 'GIF8') refuse('is GIF, which is not read')
  return {}
}

function jpegHead(view) {
  let at = 2
  const head = { type: 'image/jpeg' }
  while (at + 9 < view.byteLength) {
    if (view.getUint8(at) !== 0xff) return head
    const marker = view.getUint8(at + 1)
    if (marker === 0xff) { at += 1; continue }
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      Object.assign(head, { width: view.getUint16(at + 7), height: view.getUint16(at + 5), progressive: marker === 0xc2 })
    }
    if (marker === 0xda) return Object.assign(head, { data: at })
    at += 2 + view.getUint16(at + 2)
  }
  return head
}

function webpHead(view, kind) {
  const head = { type: 'image/webp', whole: view.getUint32(4, true) + 8 <= view.byteLength }
  const low = at => view.getUint16(at, true)
  if (kind === 'VP8X') return { ...head, width: 1 + low(24) + (view.getUint8(26) << 16), height: 1 + low(27) + (view.getUint8(29) << 16) }
  if (kind === 'VP8 ') return { ...head, width: low(26) & 0x3fff, height: low(28) & 0x3fff }
  const bits = view.getUint32(21, true)
  return { ...head, width: 1 + (bits & 0x3fff), height: 1 + (bits >>> 14 & 0x3fff) }
}

// Browsers show a photograph that ends too early with a grey rest; here it is refused, as everywhere else.
function isWhole(data, head) {
  const bytes = new Uint8Array(data)
  if (head.type === 'image/jpeg') {
    for (let at = bytes.lastIndexOf(0xd9); at > head.data; at = bytes.lastIndexOf(0xd9, at - 1)) if (bytes[at - 1] === 0xff) return true
    return false
  }
  if (head.type === 'image/png') {
    for (let at = bytes.lastIndexOf(0x49); at > 24; at = bytes.lastIndexOf(0x49, at - 1)) {
      if (bytes[at + 1] === 0x45 && bytes[at + 2] === 0x4e && bytes[at + 3] === 0x44) return true
    }
    return false
  }
  return head.whole !== false
}

function checkScans(data, head) {
  const bytes = new Uint8Array(data)
  let scans = 0
  if (head.progressive) for (let at = bytes.indexOf(0xda); at > 0; at = bytes.indexOf(0xda, at + 1)) if (bytes[at - 1] === 0xff) scans += 1
  if (scans > SCANS) refuse(`has more than ${SCANS} scans`, 'Save it as a plain JPEG')
}

function checkSize({ width, height, type, progressive }) {
  if (!width || !height) return
  const size = `${width}×${height} pixels`
  const most = type === 'image/jpeg' && !progressive ? PIXELS : COSTLY_PIXELS
  if (width * height > most) refuse(`has ${size}, more than ${Math.floor(most / 1e6)} million`, 'Shrink it first')
  if (Math.max(width, height) > NARROWEST * Math.min(width, height)) refuse(`has ${size}: too narrow for a photograph`)
  if (Math.min(width, height) < SHORTEST) refuse(`has only ${size}: too small to show anything`)
}

async function decode(file) {
  if (!file.size) refuse('is empty', again)
  if (file.size > BYTES) refuse(`has more than ${Math.floor(BYTES / 1e6)} MB`, 'Shrink it first')
  let data
  try { data = await file.arrayBuffer() } catch { refuse('cannot be read', 'Choose it again') }
  const head = headOf(data)
  if (!head.type) refuse('is not a photograph (JPEG, PNG, WebP or BMP)')
  checkSize(head)
  checkScans(data, head)
  if (!isWhole(data, head)) refuse('is damaged (it ends too early)', again)
  let bitmap
  const options = { imageOrientation: 'from-image', colorSpaceConversion: 'none', premultiplyAlpha: 'none' }
  try { bitmap = await createImageBitmap(new Blob([data], { type: head.type }), options) } catch {
    const kind = head.type.slice(6).toUpperCase()
    if (!head.width) refuse(`is a ${kind} file, which this browser does not open`, 'Save it as JPEG first')
    refuse(`is damaged (this browser cannot decode the ${kind} file)`, again)
  }
  try { checkSize({ ...head, width: bitmap.width, height: bitmap.height }) } catch (error) { bitmap.close(); throw error }
  return bitmap
}

// By what each side is divided before the network looks at it: 1, 2, 4 or 8, as a JPEG decoder can.
function reduction(width, height) {
  const longest = Math.max(width, height), shortest = Math.min(width, height), least = Math.min(ROOM * side, ENOUGH)
  return [8, 4, 2].find(o => longest >= o * least && shortest >= o * side) ?? 1
}

// Reads strips of the photograph and reduces them as they come: what is held is the result and one strip.
function pixelsOf(bitmap) {
  const { width, height } = bitmap, by = reduction(width, height)
  const wide = Math.ceil(width / by), high = Math.ceil(height / by), pixels = new Uint8Array(wide * high * 3)
  const strip = by * Math.max(1, Math.floor(2 ** 20 / width / by))
  const canvas = new OffscreenCanvas(width, Math.min(height, strip))
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (!context) refuse('is too wide for this browser', 'Shrink it first')
  for (let top = 0; top < height; top += strip) {
    const rows = Math.min(strip, height - top)
    context.fillStyle = '#fff'
    context.fillRect(0, 0, width, rows)
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows)
    const read = context.getImageData(0, 0, width, rows).data
    for (let y = 0; y < rows; y += by) averageRow(read, width, y, Math.min(by, rows - y), by, pixels, (top + y) / by * wide * 3)
  }
  canvas.width = canvas.height = 1
  return { wide, high, pixels }
}

// The mean of squares of by×by pixels, in the whole numbers of Pillow's `reduce`: both make the same pixels of the same pixels.
function averageRow(read, width, top, rows, by, pixels, put) {
  for (let left = 0; left < width; left += by, put += 3) {
    const columns = Math.min(by, width - left), count = rows * columns, share = Math.floor(2 ** 24 / count)
    let red = count >> 1, green = red, blue = red
    for (let y = top; y < top + rows; y++) {
      for (let o = (y * width + left) * 4, end = o + columns * 4; o < end; o += 4) {
        red += read[o]; green += read[o + 1]; blue += read[o + 2]
      }
    }
    pixels[put] = red * share / 2 ** 24; pixels[put + 1] = green * share / 2 ** 24; pixels[put + 2] = blue * share / 2 ** 24
  }
}

async function thumbnailOf(bitmap) {
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height))
  const canvas = new OffscreenCanvas(Math.max(1, bitmap.width * scale), Math.max(1, bitmap.height * scale))
  const context = canvas.getContext('2d')
  context.imageSmoothingQuality = 'high'
  context.fillStyle = '#fff'
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return canvas.convertToBlob({ type: 'image/jpeg', quality: .7 })
}

async function score({ file, trim }) {
  const began = performance.now(), bitmap = await decode(file)
  let thumbnail, made
  try { made = pixelsOf(bitmap); thumbnail = await thumbnailOf(bitmap) } finally { bitmap.close() }
  const decoded = performance.now()
  const photograph = new ort.Tensor('uint8', made.pixels, [made.high, made.wide, 3])
  const inputs = { photograph, trim: new ort.Tensor('float32', Float32Array.from(trim), [2]) }
  const { scores, activation } = await session.run(inputs)
  return { scores: scores.data, activation: activation && { data: activation.data, shape: activation.dims }, thumbnail,
           ms: { model: performance.now() - decoded, all: performance.now() - began } }
}

const loading = load()
loading.then(model => postMessage({ ready: true, model }), error => postMessage({ failed: error.message }))
let turn = Promise.resolve()  // one after the other: two decoded photographs at once are one too many for a phone

onmessage = ({ data }) => {
  turn = turn.then(async () => {
    try { await loading; postMessage({ id: data.id, ...await score(data) }) } catch (error) {
      postMessage({ id: data.id, error: error instanceof Refused ? error.message : `cannot be looked at (${error.message})` })
    }
  })
}
