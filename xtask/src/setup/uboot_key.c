/*
 * The key of an ECDSA signature as U-Boot itself has it: from the node of its
 * devicetree that requires it. Debian's verifier for hosts looks for the owner's
 * private key in a file.
 */
static int required_key(struct signer *ctx, const struct image_sign_info *info)
{
	int node = info->required_keynode, x_len, y_len;
	const char *curve = fdt_getprop(info->fdt_blob, node, "ecdsa,curve", NULL);
	const void *x = fdt_getprop(info->fdt_blob, node, "ecdsa,x-point", &x_len);
	const void *y = fdt_getprop(info->fdt_blob, node, "ecdsa,y-point", &y_len);
	int len = info->crypto->key_len;
	BIGNUM *x_point, *y_point;
	int is_point;

	memset(ctx, 0, sizeof(*ctx));
	if (node < 0 || !curve || !x || !y || x_len != len || y_len != len)
		return -EINVAL;
	if (alloc_ctx(ctx, info))
		return -ENOMEM;
	ctx->ecdsa_key = EC_KEY_new_by_curve_name(OBJ_sn2nid(curve));
	x_point = BN_bin2bn(x, len, NULL);
	y_point = BN_bin2bn(y, len, NULL);
	is_point = ctx->ecdsa_key && x_point && y_point &&
		   EC_KEY_set_public_key_affine_coordinates(ctx->ecdsa_key, x_point, y_point);
	BN_free(x_point);
	BN_free(y_point);
	return is_point ? 0 : -EINVAL;
}
