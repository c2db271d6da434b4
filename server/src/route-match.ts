import type { Route } from '@crystal-forge/functions/routes.ts'

export type Match = (
  method: string,
  path: string,
) => { readonly route: Route; readonly parameters: Record<string, string> } | undefined

/** Finds the route of a request: the one with the most literal segments wins, as in API Gateway. */
export function compileRoutes(routes: readonly Route[]): Match {
  const compiled = routes.map(compile).sort((left, right) => left.parameters.length - right.parameters.length)
  return (method, path) => {
    for (const { route, method: own, pattern, parameters } of compiled) {
      if (own !== method) continue
      const found = pattern.exec(path)
      if (found === null) continue
      return {
        route,
        parameters: Object.fromEntries(parameters.map((name, at) => [name, found[at + 1] ?? ''])),
      }
    }
    return undefined
  }
}

type Compiled = { route: Route; method: string; pattern: RegExp; parameters: string[] }

function compile(route: Route): Compiled {
  const [method = '', template = ''] = route.key.split(' ')
  const parameters: string[] = []
  const pattern = template
    .split('/')
    .map((segment) => {
      const name = /^\{([a-z_]+)\}$/.exec(segment)?.[1]
      if (name === undefined) return segment.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
      parameters.push(name)
      return '([^/]+)'
    })
    .join('/')
  return { route, method, pattern: new RegExp(`^${pattern}$`), parameters }
}
