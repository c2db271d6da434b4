import { isIP } from 'node:net'

/** Where reports go. */
export type Endpoint = {
  readonly protocol: 'https:' | 'http:'
  readonly hostname: string
  readonly port: number
  /** Path before `/v1`, without a slash at the end; mostly empty. A proxy takes it off, so it is not signed. */
  readonly basePath: string
  /** The public host that signatures name, and the Host header. */
  readonly authority: string
}
export type EndpointFault = { readonly key: string; readonly message: string }

export type EndpointInput = {
  readonly serverUrl: string | null
  readonly serverHost: string | null
  readonly serverPort: number | null
  readonly allowPlainHttp: boolean
  readonly authority: string | null
}

/**
 * Finds the control plane from `server_url`, or from the original's `server_host` and `server_port`. As in the original port 443 means
 * https and another port http; but http to another machine is refused unless it was asked for, because anyone on the way
 * could read what the host runs and forge the answer.
 */
export function endpointOf(input: EndpointInput): Endpoint | EndpointFault {
  const url = input.serverUrl === null ? urlOfHost(input) : urlOf(input.serverUrl)
  if ('message' in url) return url
  const plain = url.protocol === 'http:'
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  if (plain && !input.allowPlainHttp && !isLoopback(hostname)) return plainHttp(input, url)
  const authority = input.authority ?? url.host
  if (!/^[A-Za-z0-9.-]+(?::[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?$/.test(authority)) {
    return { key: 'authority', message: `is ${JSON.stringify(authority)}; expected HOST or HOST:PORT` }
  }
  return {
    protocol: plain ? 'http:' : 'https:',
    hostname,
    port: url.port === '' ? (plain ? 80 : 443) : Number(url.port),
    basePath: url.pathname.replace(/\/+$/, ''),
    authority,
  }
}

export function isLoopback(hostname: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '::1') return true
  return isIP(hostname) === 4 && hostname.startsWith('127.')
}

function urlOf(text: string): URL | EndpointFault {
  const fault = (why: string) => ({
    key: 'server_url',
    message: `is ${JSON.stringify(text)}; ${why}, such as "https://cf.example.com"`,
  })
  if (!URL.canParse(text)) return fault('expected a URL')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return fault('expected an https URL')
  // The URL may hold a password; it is not repeated.
  if (url.username !== '' || url.password !== '') {
    return { key: 'server_url', message: 'holds a user name or password; the key of the host is what signs' }
  }
  if (url.search !== '' || url.hash !== '') return fault('expected a URL without query and fragment')
  if (!/^\/[A-Za-z0-9._~/-]*$/.test(url.pathname) || url.pathname.includes('//'))
    return fault('expected a plain path')
  return url
}

function urlOfHost(input: EndpointInput): URL | EndpointFault {
  const host = input.serverHost
  if (host === null) {
    return {
      key: 'server_url',
      message: 'is missing; name the control plane, such as "https://cf.example.com"',
    }
  }
  const port = input.serverPort ?? 443
  const text = `${port === 443 ? 'https' : 'http'}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`
  const plainHost = isIP(host) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(host)
  if (!plainHost || !URL.canParse(text)) {
    return { key: 'server_host', message: `is ${JSON.stringify(host)}; expected a host name or an address` }
  }
  return new URL(text)
}

function plainHttp(input: EndpointInput, url: URL): EndpointFault {
  const secure = `https://${url.host}`
  return {
    key: input.serverUrl === null ? 'server_port' : 'server_url',
    message:
      `means unencrypted http to ${url.host}; set client.server_url = "${secure}", ` +
      'or client.allow_plain_http = true where the network itself is protected',
  }
}
