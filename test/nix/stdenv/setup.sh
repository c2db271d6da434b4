# The phases of a derivation, in the order of nixpkgs and under its names. Run by bash with the derivation's attributes as environment.
set -euo pipefail
export PATH=/usr/bin:/bin HOME=/homeless-shelter
runHook() { local hook=${!1:-}; eval "$hook"; }
for input in ${nativeBuildInputs:-}; do
  if [ -d "$input/bin" ]; then PATH=$input/bin:$PATH; fi
  if [ -f "$input/nix-support/setup-hook" ]; then . "$input/nix-support/setup-hook"; fi
done
if [ -n "${buildCommand:-}" ]; then eval "$buildCommand"; exit; fi

cp -r "$src" source
chmod -R u+w source
cd source
runPhase() { local text=${!1:-}; if [ -n "$text" ]; then echo "phase $1"; eval "$text"; fi; }
runPhase configurePhase
if [ -z "${dontBuild:-}" ]; then runPhase buildPhase; fi
runPhase installPhase
if [ -n "${doInstallCheck:-}" ]; then runPhase installCheckPhase; fi
