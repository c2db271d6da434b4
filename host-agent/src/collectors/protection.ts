import type { RootedTree } from '../rooted-tree.ts'

export type Protection = {
  secure_boot_enabled: boolean | null
  tpm_present: boolean | null
  fips_mode: boolean | null
  selinux_status: string | null
}

/** Each is null where the place that would tell is not there, as in a container or a prepared tree. */
export async function collectProtection(tree: RootedTree): Promise<Protection> {
  const [secure_boot_enabled, fips_mode, selinux_status] = await Promise.all([
    secureBoot(tree),
    fipsMode(tree),
    selinux(tree),
  ])
  const tpm_present = tree.exists('/sys/class') ? tree.exists('/sys/class/tpm/tpm0') : null
  return { secure_boot_enabled, tpm_present, fips_mode, selinux_status }
}

/**
 * UEFI specification, "SecureBoot": four bytes of attributes, then 1 or 0. A kernel that has firmware tables but no EFI was not
 * booted by UEFI and cannot have it; an EFI variable that is not readable says nothing.
 */
async function secureBoot(tree: RootedTree): Promise<boolean | null> {
  if (!tree.exists('/sys/firmware')) return null
  if (!tree.exists('/sys/firmware/efi')) return false
  const variable = await tree.bytes(`/sys/firmware/efi/efivars/SecureBoot-${EFI_GLOBAL_VARIABLE}`, 16)
  if (variable?.length !== 5) return null
  const value = variable[4]
  return value === 1 ? true : value === 0 ? false : null
}

/** A kernel without the file was built without FIPS support. */
async function fipsMode(tree: RootedTree): Promise<boolean | null> {
  const value = await tree.text('/proc/sys/crypto/fips_enabled')
  if (value === null) return tree.exists('/proc/sys/kernel') ? false : null
  return value === '1' ? true : value === '0' ? false : null
}

async function selinux(tree: RootedTree): Promise<string | null> {
  if (!tree.exists('/sys/fs')) return null
  if (!tree.exists('/sys/fs/selinux')) return 'disabled'
  const value = await tree.text('/sys/fs/selinux/enforce')
  if (value === null) return tree.exists('/sys/fs/selinux/status') ? null : 'disabled'
  return value === '1' ? 'enforcing' : 'permissive'
}

const EFI_GLOBAL_VARIABLE = '8be4df61-93ca-11d2-aa0d-00e098032b8c'
