#!/usr/bin/perl

# Why: some directives do something else around a gate than operators expect,
# and some lead past it.  What "nginx -t" can see of that it has to say, with
# file and line; and to keep silent of the rest, or nobody reads it.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

my $t = Test::Lockbox->new;
my $conf = $t->testdir . '/nginx-t.conf';
my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';
my $gate = 'lockbox on; lockbox_tenant acme; lockbox_service mail;';

# What nginx -t warns of, one line each, without the time and place.
sub warnings_of {
    my (%parts) = @_;

    my ($exit, $output) = $t->nginx_test($t->conf(%parts));

    return join "\n", "exit $exit",
                map { s/\Q$conf\E:/nginx.conf:/r =~ s/^.*?\[warn\] \S+ //r }
                grep { /\[warn\]/ } split /\n/, $output;
}

# The line of nginx.conf that has this text.
sub line_of {
    my ($pattern, %parts) = @_;

    my @lines = split /\n/, $t->conf(%parts);
    my ($line) = grep { $lines[ $_ - 1 ] =~ $pattern } 1 .. @lines;

    return $line;
}

# These locations are warned of so, once; %d stands for the line of the gate.
# The twin is not warned of, and both are taken.
sub warned {
    my ($name, $locations, $pattern, $twin, %more) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my %parts = (locations => $locations, %more);
    my $line = line_of(qr/lockbox on/, %parts);

    $pattern =~ s/%d/$line/;
    like(warnings_of(%parts), qr/\Aexit 0\n[^\n]*$pattern[^\n]*\z/, $name);
    silent("$name: its twin", $twin);
}

sub silent {
    my ($name, $locations, %more) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(warnings_of(locations => $locations, %more), 'exit 0', $name);
}

# The gated location, with those directives and what it usually has.
sub gated {
    my ($more, $location, $content) = @_;

    return 'location ' . ($location // '/a/') . " {\n    $gate\n    $more\n"
           . ($content // $upstream) . "\n}\n";
}

silent('nothing around it', gated(''));


# Return and rewrite

my $return = qr{"return" in a location "/a/" that is gated in nginx.conf:%d: };
my $rewrite =
    qr{"rewrite" in a location "/a/" that is gated in nginx.conf:%d: };

warned('return with a text', gated('return 200 a;'), $return,
       gated('return 404 a;'));
warned('return with nothing', gated('return 204;'), $return,
       gated('return 403;'));
warned('return with a redirect', gated('return 301 /b;'), $return,
       gated('return 400;'));
warned('return with an address', gated('return https://b;'), $return,
       gated('return 444;'));
warned('return of a variable', gated('return 200 $uri$args;'), $return,
       gated('return 500 $uri$args;'));
warned('return in an if', gated('if ($arg_a) { return 200; }'), $return,
       gated('if ($arg_a) { return 405; }'));
warned('return behind much else', gated(<<'EOF_MUCH'), $return,
    set $one "a text of some length and no use";
    set $two $one$arg_a$uri;
    if (-f $two) { set $one 1; }
    if ($one ~ "(a|b)") { set $one $1; }
    if ($one != a) { return 302 /b; }
    break;
EOF_MUCH
       gated(<<'EOF_MUCH'));
    set $one "a text of some length and no use";
    set $two $one$arg_a$uri;
    if (-f $two) { set $one 1; }
    if ($one ~ "(a|b)") { set $one $1; }
    if ($one != a) { return 403; }
    break;
EOF_MUCH

warned('rewrite', gated('rewrite ^/a/(.*)$ /b/$1;'), $rewrite,
       gated('set $b /b/$uri;'));
warned("rewrite $_", gated("rewrite ^/a/(.*)\$ /b/\$1 $_;"), $rewrite,
       gated('if ($uri ~ ^/a/(.*)$) { break; }'))
    for qw(last break);
warned("rewrite $_", gated("rewrite ^/a/(.*)\$ /b/\$1 $_;"), $return,
       gated('if ($uri !~* ^/a/(.*)$) { break; }'))
    for qw(redirect permanent);
warned('rewrite with an address', gated('rewrite ^ https://b;'), $return,
       gated(''));
warned('rewrite in an if', gated('if ($arg_a) { rewrite ^ /b break; }'),
       $rewrite, gated('if ($arg_a) { break; }'));

silent('return where nothing is gated',
       gated('') . 'location /b/ { return 200; rewrite ^ /c; }');
silent('return in a nested location that is not gated',
       gated('location /a/b/ { lockbox off; return 200; }'));
warned('return in a nested location',
       gated('location /a/b/ { return 200; }'),
       qr{"return" in a location "/a/b/" that is gated in nginx.conf:%d: },
       gated('location /a/b/ { return 404; }'));
warned('return in a server', '',
       qr{"return" in a server that is gated in nginx.conf:%d: },
       gated(''), server => "$gate\nreturn 301 https://\$host;");
silent('return in the server around it', gated(''), server => 'return 200;');

my $both = warnings_of(locations => gated('return 200; rewrite ^ /b;'));
is(() = $both =~ /^"(?:return|rewrite)" in/mg, 2, 'both are warned of')
    or diag $both;


# Regular expressions that take what is meant for the gate

my $regex = "location ~ \\.json\$ { $upstream }\n";

sub taken {
    my ($name) = @_;

    return qr{location "~ \\.json\$" is not gated .* location }
           . quotemeta(qq("$name")) . qr{ that is gated in nginx.conf:%d: };
}

warned('a regular expression', gated('') . $regex, taken('/a/'),
       gated('', '^~ /a/') . $regex);
warned('a regular expression in front', $regex . gated(''), taken('/a/'),
       gated('', '= /a/') . $regex);
warned('one before a gated one', $regex . gated('', '~ ^/a/'), taken('^/a/'),
       gated('', '~ ^/a/') . $regex);
warned('one beside the location around it',
       'location / { ' . gated('') . "}\n$regex", taken('/a/'),
       'location ^~ / { ' . gated('') . "}\n$regex");
silent('a gated regular expression in its own prefix location',
       'location / { ' . gated('', '~ ^/a/') . "}\n$regex");
warned('one beside a gate with others in it',
       gated("location /a/b/ { $upstream } if (\$arg_a) { $upstream }") . $regex,
       taken('/a/'),
       gated("location /a/b/ { $upstream } if (\$arg_a) { $upstream }",
             '^~ /a/') . $regex);
silent('one beside a named location', gated('', '@a') . $regex);
silent('one in a gated server', gated('') . $regex, server => $gate);
silent('one that says that it is meant',
       gated('') . $regex =~ s/\{/{ lockbox off;/r);
silent('one that is gated', gated('') . gated('', '~ \.json$'));
silent('one in the gated location', gated($regex));
silent('one beside a nested location of the gate',
       gated("location /a/b/ { $upstream } $regex"));
silent('one without an upstream',
       gated('') . 'location ~ /\.ht { deny all; }');
warned('one where the gate has files',
       gated('', '/a/', 'root /srv;') . 'location ~ \.json$ { root /srv; }',
       taken('/a/'),
       gated('', '/a/') . 'location ~ \.json$ { root /srv; }');
silent('one in another server', gated(''),
       http => "server { listen 127.0.0.1:%%PORT_8082%%; $regex }");

for my $case (
    [ '^/b/', 0 ], [ '^/a/b', 1 ], [ '^/', 1 ], [ '^/A/', 1 ], [ '^/ab/', 0 ],
    [ '^/ab?/', 1 ], [ '^/ab*/', 1 ], [ '^/ab{0}/', 1 ], [ '^/b?', 1 ],
    [ '^/b|^/a', 1 ], [ '^/b(c)|^/a', 1 ], [ '^/b(c|d)', 0 ], [ '^/b\(|/a', 1 ], [ '^/(b|c)', 1 ],
    [ '^\w', 1 ], [ '/b', 1 ], [ '^', 1 ],
) {
    my ($pattern, $overlaps) = @$case;

    my $got = warnings_of(locations =>
        gated('') . qq(location ~* "$pattern" { $upstream }));

    is($got =~ /is not gated/ ? 1 : 0, $overlaps,
       ($overlaps ? 'may take' : 'cannot take') . " /a/: $pattern");
}


# Errors before the gate that lead past it

my $error =
    qr{"error_page" in a location "/a/" that is gated in nginx.conf:%d: };

sub named {
    my ($more) = @_;

    return "location \@open { $more }\n";
}

warned('error_page', gated('error_page 429 @open;') . named($upstream), $error,
       gated('error_page 429 @open;') . named("$gate $upstream"));
warned('error_page of the server', gated('') . named($upstream), $error,
       gated('') . named($upstream), server => 'error_page 503 = @open;');
warned('error_page that nobody says is meant',
       gated('error_page 500 501 @a; error_page 503 @open;')
           . named($upstream), $error,
       gated('error_page 503 @open;') . named("lockbox off; $upstream"));
warned('error_page of the gate and of the upstream',
       gated('error_page 502 503 504 @open;') . named($upstream), $error,
       gated('error_page 502 504 @open;') . named($upstream));
warned('error_page of a gate with others in it',
       gated('error_page 503 @open; location /a/b/ { return 404; }'
             . 'limit_except GET { deny all; }') . named($upstream), $error,
       gated('error_page 503 @open; location /a/b/ { return 404; }'
             . 'limit_except GET { deny all; }') . named("$gate $upstream"));
warned('error_page in an if',
       gated('if ($arg_a) { error_page 503 @open; }') . named($upstream),
       $error, gated('if ($arg_a) { error_page 504 @open; }')
               . named($upstream));

silent('error_page that leads nowhere', gated('error_page 413 @other;')
                                        . named($upstream));
silent('error_page without named locations', gated('error_page 413 @open;'));
silent('error_page where nothing is gated',
       "location /a/ { error_page 413 \@open; $upstream }" . named($upstream));


# Errors that nginx finds before anything can see the request in its location

# Refused, naming the page and the line of the gate; the twin is taken.
sub past {
    my ($name, $page, $locations, $twin, %more) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my %parts = (locations => $locations, %more);
    my $line = line_of(qr/lockbox on/, %parts);
    my ($exit, $output) = $t->nginx_test($t->conf(%parts));

    isnt($exit, 0, $name);
    like($output, qr{\Q"error_page $page"\E.*/nginx-t\.conf:$line
                     [ ]leads[ ]past[ ]the[ ]gate}x, "$name: says why");

    my %twin = ref $twin ? (%parts, %$twin)
                         : (%parts, locations => $twin);

    ($exit, $output) = $t->nginx_test($t->conf(%twin));
    is($exit, 0, "$name: its twin") or diag $output;
}

my $open = named($upstream);
my $large = gated('error_page 413 @open;');
my $nothing = 'location ~ ^/b/ { return 404; }';

past('a body that is too large', '413 @open', $large . $open, $large . $_)
    for named("$gate $upstream"), named("lockbox off; $upstream"),
        named('return 413;');
past('with its status', '413 @open',
     gated('error_page 413 500 =200 @open;') . $open,
     gated('error_page 413 500 =200 /open;') . $open);
past('... if there is a limit', '413 @open', $large . $open,
     gated('error_page 413 @open; client_max_body_size 0;') . $open);
past('what is internal', '404 @open',
     gated('internal; error_page 404 @open;') . $open,
     gated('error_page 404 @open;') . $open);
past('a redirect of the location', '301 @open',
     gated('error_page 301 @open;') . $open,
     gated('error_page 301 @open;', $_) . $open)
    for '/a', '~ ^/a/';
past('a regular expression that fails', '500 @open',
     gated('error_page 500 @open;') . $nothing . $open,
     gated('error_page 500 @open;', '^~ /a/') . $nothing . $open);
past('... in the location', '500 @open',
     gated('error_page 500 @open; location ~ ^/a/b/ { return 404; }',
           '^~ /a/') . $open,
     gated('error_page 500 @open; location ^~ /a/b/ { return 404; }',
           '^~ /a/') . $open);
past('... but not of a name', '413 @open', $large . $open,
     gated('error_page 413 @open;', '@a') . $open);
past('a page of the server', '413 @open', gated('') . $open,
     gated('error_page 404 /a;') . $open, server => 'error_page 413 @open;');
past('a page in limit_except', '413 @open',
     gated('limit_except GET { deny all; } error_page 413 @open;') . $open,
     gated('if ($arg_a) { error_page 413 @open; }') . $open);

# before there is a location

past("an error of the header, $_", "$_ \@open", gated('') . $open,
     gated('') . named("lockbox off; $upstream"),
     server => "error_page $_ = \@open;")
    for 400, 405, 421, 494 .. 497, 501;
past('... where the server is gated', '400 @open',
     gated('') . $open, { server => 'error_page 400 /400.html;' },
     server => 'error_page 400 @open;');
past('... in the second server', '400 @open', '', { http => "
    server {
        listen      127.0.0.1:%%PORT_8082%%;
        error_page  404 \@open;
        ${\ gated('') } $open
    }" }, http => "
    server {
        listen      127.0.0.1:%%PORT_8082%%;
        error_page  400 \@open;
        ${\ gated('') } $open
    }", server => 'location /other/ { ' . $gate . $upstream . '}');
past('return in the server', '403 @open', gated('') . $open,
     { server => 'if ($arg_a) { return 402; } error_page 403 @open;' },
     server => 'if ($arg_a) { return 403; } error_page 403 @open;');
past('a regular expression of the server', '500 @open', gated('') . $open,
     { server => 'set $a b; error_page 500 @open;' },
     server => 'if ($uri ~ ^/(a|b)+$) { set $a b; } error_page 500 @open;');
past('one of its locations', '500 @open', gated('', '^~ /a/') . $nothing . $open,
     gated('', '^~ /a/') . $open, server => 'error_page 500 @open;');
silent('an error of the header in a server where nothing is gated', gated(''),
       http => "server { listen 127.0.0.1:%%PORT_8082%%;
                         error_page 400 \@open; $open }");
silent('an error of the header with a path', gated('') . $open,
       server => 'error_page 400 405 501 /open;');

# what they lead to

past('what an if has', '413 @open', $large . named("if (\$a) { $upstream }"),
     $large . named('if ($a) { return 413; }'), server => 'set $a b;');
past('what limit_except has', '413 @open',
     $large . named("limit_except GET { $upstream }"),
     $large . named("lockbox off; limit_except GET { $upstream }"));
past('files that are gated', '413 @open',
     gated('error_page 413 @open;', '/a/', 'root /srv;') . named('root /srv;'),
     gated('error_page 413 @open;', '/a/', 'root /srv;') . $_)
    for named('root /else;'), named('root /srv; return 413;');
past('... and not those of an if', '413 @open',
     gated('error_page 413 @open;', '/a/', 'set $b c;') . named('set $b c;'),
     gated('error_page 413 @open; if ($a) { set $b c; }') . named('set $b c;'),
     server => 'set $a b;');
past('... in another server', '413 @open',
     gated('error_page 413 @open;', '/a/', 'set $b c;') . named('set $b c;'),
     gated('error_page 413 @open;') . named('set $b c;'),
     http => 'server { listen 127.0.0.1:%%PORT_8082%%; '
             . gated('', '/', '') =~ s/lockbox on/lockbox  on/r . '}');

my $variable = gated('error_page 413 =200 /open$uri;');

for my $case (
    [ 'location /open/ { internal; %s }',
      'location /other/ { internal; %s }' ],
    [ 'location / { %s }', 'location / { %s } location /open { root /srv; }' ],
    [ 'location / { %s } location = /open { root /srv; }',
      'location / { %s } location ^~ /open { root /srv; }' ],
    [ 'location = /open/x { %s }', 'location = /ope { %s }' ],
    [ 'location ~ ^/open { %s }', 'location ~ ^/other { %s }' ],
    [ 'location ~ open { %s }', 'location ~ ^/a { lockbox off; %s }' ],
    [ 'location /open/ { if ($a) { %s } }',
      'location /open/ { lockbox off; if ($a) { %s } }' ],
    [ 'location /o { location /open/x { %s } }',
      'location /o { location /other/x { %s } }' ],
    [ 'location /open/ { %s }', "location /open/ { $gate %s }" ],
    [ 'location /open/ { %s }', 'location /open/ { lockbox_admin on; }' ],
    [ 'location /open/ { %s }', 'location /open/ { root /srv; }' ],
    [ 'location /open/ { %s }', 'location @open { %s }' ],
) {
    my ($place, $twin) = map { s/%s/$upstream/r } @$case;

    past("a page with a variable, $place", '413 /open$uri', $variable . $place,
         $variable . $twin, server => 'set $a b;');
}

past('a page that is a variable', "413 $_", gated("error_page 413 $_;") . $open,
     gated("error_page 413 $_;") . named("$gate $upstream"))
    for '$arg_a', '@$arg_a', '@op$arg_a';
past('... to a path', '413 $arg_a',
     gated('error_page 413 $arg_a;') . "location /b/ { $upstream }",
     gated("error_page 413 $_;") . "location /b/ { $upstream }")
    for qw($uri ${uri} $document_uri ${document_uri} https://b$uri @b$uri
           /a$uri);
past('... to the path as it came', '413 $request_uri',
     gated('error_page 413 $request_uri;') . "location /b/ { $upstream }",
     gated('error_page 413 $request_uri;') . 'location /b/ { root /srv; }');


# Errors whose pages leave no record

my $fine = 'location = /fine { root /srv; }';
my $lost = qr{$error\Qits page for what nginx refuses\E.*\Qno record\E};

sub unrecorded {
    my ($name, $locations, $twin, %more) = @_;

    warned("no record: $name", $locations, $lost, $twin, %more);
}

unrecorded('a page', gated('error_page 413 /fine;') . $fine,
           gated('error_page 413 /fine;') . $fine =~ s/\{/{ lockbox off;/r);
unrecorded('a page of the server', gated('') . $fine,
           gated('') . $fine =~ s/\{/{ lockbox off;/r,
           server => 'error_page 413 /fine;');
unrecorded('nothing in particular', gated('error_page 413 /fine;'),
           gated('error_page 413 /fine; client_max_body_size 0;'));
unrecorded('a prefix', gated('error_page 413 /fine/a;')
                       . 'location /fine/ { root /srv; }',
           gated('error_page 413 /fine/a;')
           . "location /fine/ { $gate root /srv; }"
           . 'location /fin/ { root /srv; }');
unrecorded('another location', gated('error_page 413 /fine;')
                               . 'location = /fin { lockbox off; }',
           gated('error_page 413 /fine;')
           . 'location = /fine { lockbox off; }');
unrecorded('the very path', gated('error_page 413 /fine;')
                            . 'location /fine { lockbox off; }' . $fine,
           gated('error_page 413 /fine;') . 'location /fine { root /srv; }'
           . $fine =~ s/\{/{ lockbox off;/r);
unrecorded('a name', gated('error_page 413 @open;') . named('return 413;'),
           gated('error_page 413 @open;') . named('lockbox off; return 413;'));
unrecorded('a variable', gated('error_page 413 /fine$uri;') . $fine,
           gated('error_page 413 $uri;') . $fine);
unrecorded('what is internal', gated('internal; error_page 404 /fine;'),
           gated('error_page 404 /fine;'));
unrecorded('a redirect of the location', gated('error_page 301 /fine;'),
           gated('error_page 301 https://b/fine;'));
silent('an error that hardly comes before the gate',
       gated('error_page 500 /fine; location ~ ^/a/b/ { return 404; }',
             '^~ /a/') . $fine);
silent('an answer of nginx itself', gated('error_page 413 https://b/fine;'));


# What is no reason to warn

silent($_, gated($_)) for (
    'satisfy any; allow 127.0.0.1; deny all;', 'internal;',
    'limit_except GET { deny all; }', 'mirror /b;', 'auth_request /b;',
    'error_page 401 =200 /b;', 'try_files $uri @b;', 'alias /srv/;',
    'proxy_intercept_errors on; error_page 404 /b;', 'ssi on;',
    "location /a/b/ { lockbox off; $upstream }", 'proxy_store on;',
    "if (\$arg_a) { $upstream }",
);


# What the warnings say is so

$t->redis;
$t->upstream;
$t->write_conf($t->conf(locations => join('',
    gated('return 200 secret;', '/text/'),
    gated('return 301 /open/;', '/moved/'),
    gated('return 404 nothing;', '/nothing/'),
    gated('rewrite ^ /open/ redirect;', '/redirected/'),
    gated('rewrite ^/within/(.*) /tenants/acme/mail/$1 break;', '/within/'),
    gated('rewrite ^ /open/ last;', '/out/'),
    gated('error_page 413 = @meant; client_max_body_size 1;', '/large/'),
    gated('error_page 405 = @open; return 405;',
          '/error/'),
    gated('', '/tenants/acme/mail/'),
    gated('internal; error_page 404 = @meant;', '/inside/'),
    gated('error_page 301 = @meant;', '/slash/'),
    gated('error_page 413 /fine; client_max_body_size 1;', '/lost/'),
    gated('internal; error_page 404 /fine;', '/hidden/'),
    gated('client_max_body_size 1;', '/kept/'),
    $regex, "location /open/ { $upstream }\n", named($upstream),
    "location \@meant { lockbox off; $upstream }\n",
    'location = /fine { return 200 fine; }',
    'location ^~ /lockbox/ { lockbox_admin on; }'),
    server => 'error_page 400 501 = @meant; error_page 405 /fine;',
    http => 'server { listen 127.0.0.1:%%PORT_8082%%; '
            . gated('error_page 413 =200 /meant$uri; client_max_body_size 1;',
                    '/variable/')
            . "location /meant/ { lockbox off; internal; $upstream } }"));
$t->run;

use_world($t);

my $grant = $t->grant;

for my $case (
    [ '/text/', 503, 503 ], [ '/moved/', 503, 503 ],
    [ '/redirected/', 503, 503 ], [ '/nothing/', 404, 404 ],
    [ '/within/x', 401, 200, '/tenants/acme/mail/x' ],
    [ '/out/', 503, 503 ],
    [ '/tenants/acme/mail/a.json', 200, 200, '/tenants/acme/mail/a.json' ],
    [ '/tenants/acme/mail/a', 401, 200, '/tenants/acme/mail/a' ],
) {
    my ($uri, $without, $with, $arrives) = @$case;

    my $seen = () = $t->upstream_requests;

    is($t->http('GET', $uri)->status, $without, "$uri without a grant");
    is($t->http('GET', $uri, token => $grant)->status, $with,
       "$uri with a grant");

    my @uris = map { $_->{uri} } $t->upstream_requests;
    is_deeply([ @uris[ $seen .. $#uris ] ],
              [ ($arrives) x grep { $_ == 200 } $without, $with ],
              "$uri: what arrives");
}

for my $case (
    [ 'a body that is too large', 'POST /large/x', undef, body => 'too much' ],
    [ 'what is internal', 'DELETE /inside/x' ],
    [ 'a redirect of the location', 'GET /slash' ],
    [ 'a length that is none', 'DELETE /tenants/acme/mail/x', undef,
      headers => { 'Content-Length' => 'x' } ],
    [ 'an unknown encoding', 'POST /tenants/acme/mail/x', undef,
      headers => { 'Transfer-Encoding' => 'gzip' } ],
    [ 'a page with a variable', 'POST /variable/x', 'GET /meant/variable/x',
      port => 8082, body => 'too much' ],
) {
    my ($name, $request, $arrives, %options) = @$case;

    records();
    is($t->http(split(/ /, $request), %options)->status, 200,
       "$name leads past the gate where that is meant");
    is(join(' ', @{($t->upstream_requests)[-1]}{qw(method uri)}),
       $arrives // $request, "$name: with method and path");
    is(scalar(() = records()), 0, "$name: with no record");
}

my $before = () = $t->upstream_requests;

for my $case (
    [ 413, 'POST /lost/x', 0, body => 'too much' ],
    [ 413, 'POST /kept/x', 1, body => 'too much' ],
    [ 404, 'GET /hidden/x', 0 ],
    [ 405, 'TRACE /tenants/acme/mail/x', 0 ],
) {
    my ($status, $request, $records, %options) = @$case;

    records();
    is($t->http(split(/ /, $request), %options)->status, $status,
       "$request is refused");
    is(scalar(() = records()), $records, "$request: records");
}

is(scalar(() = $t->upstream_requests), $before, 'and nothing arrives');

is($t->http('GET', '/error/x')->json->{code}, 'internal_error',
   'another error does not');
is(scalar(() = $t->upstream_requests), $before, 'and nothing arrives');

done_testing;
