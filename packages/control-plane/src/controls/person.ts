/** Somebody who decides something: who it is, and what the token or the account is called. */
export type Person = {
  /**
   * `iss#sub` of a JWT, what an administrator says of a token, or `token:<id>` where nobody said. Null in records of
   * earlier versions, which hold the name only.
   */
  readonly subject: string | null
  readonly name: string
}

/**
 * Whether two are one person, as `same_person` of the database says it: by their subjects; where one of them is not known
 * or only names a token, by their names as well.
 */
export function isSamePerson(one: Person, other: Person): boolean {
  if (one.subject !== null && one.subject === other.subject) return true
  return one.name === other.name && (isVague(one) || isVague(other))
}

/** What the subject of a token is of which nobody said whose it is. */
export function subjectOfToken(id: string): string {
  return `${TOKEN}${id}`
}

function isVague({ subject }: Person): boolean {
  return subject === null || subject.startsWith(TOKEN)
}

const TOKEN = 'token:'
