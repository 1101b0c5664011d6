package auth

import "slices"

// Missing lists what of needed is not granted, in needed's order; nil where
// nothing is.
func Missing(granted, needed []string) []string {
	var missing []string
	for _, scope := range needed {
		if !slices.Contains(granted, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}
