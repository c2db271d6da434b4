/** The version of package.json; a test compares them, so that the bundle carries no JSON file. */
export const CLI_VERSION = '0.3.0'
