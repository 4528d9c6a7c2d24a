# Text files that are compiled in: admin/workflow.lua becomes the array
# ngx_lockbox_workflow_lua in ngx_lockbox_assets.h, the exact bytes without a
# NUL, so that sizeof() is its length.  Only sources in admin/ and those that
# are named below may include it.

ngx_lockbox_assets="$ngx_addon_dir/admin/workflow.lua $ngx_addon_dir/ngx_lockbox_module/trail.lua"

# The answer to v1/openapi.json.
ngx_lockbox_assets="$ngx_lockbox_assets $ngx_addon_dir/admin/openapi.json"

cat << END >> $NGX_MAKEFILE

$NGX_OBJS/ngx_lockbox_assets.h:	$ngx_addon_dir/config.make $ngx_lockbox_assets
	for file in $ngx_lockbox_assets; do \\
	    name=\`basename \$\$file | sed 's/[^A-Za-z0-9]/_/g'\`; \\
	    echo "static const u_char  ngx_lockbox_\$\$name[] = {"; \\
	    od -An -v -tx1 \$\$file | sed 's/ \\(..\\)/ 0x\\1,/g'; \\
	    echo "};"; \\
	done > \$@

END

for ngx_src in $ngx_addon_dir/admin/*.c \
               $ngx_addon_dir/ngx_lockbox_module/ngx_http_lockbox_trail.c
do
    cat << END >> $NGX_MAKEFILE
$NGX_OBJS/addon/`basename $(dirname $ngx_src)`/`basename $ngx_src .c`.$ngx_objext: \\
	$NGX_OBJS/ngx_lockbox_assets.h
END
done
